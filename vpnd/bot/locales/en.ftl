# English. Keys that begin with button-, alert-, command- or invoice- are plain text; all the others are Telegram HTML.
# Every file has the same keys with the same placeholders: ./dev check proves it.

## Money, periods, dates

money-rub = { $amount } ₽
money-usd = ${ $amount }
money-eur = €{ $amount }
money-xtr = { $amount } ⭐
money-other = { $amount } { $currency }

date = { $day } { $month ->
        [1] January
        [2] February
        [3] March
        [4] April
        [5] May
        [6] June
        [7] July
        [8] August
        [9] September
        [10] October
        [11] November
       *[12] December
    } { $year }

period-days = { $count ->
        [one] { $count } day
       *[other] { $count } days
    }
period-months = { $count ->
        [one] { $count } month
       *[other] { $count } months
    }
period-years = { $count ->
        [one] { $count } year
       *[other] { $count } years
    }

## Home

home-new =
    <b>Hello, { $name }!</b>

    Here you get a fast and private VPN that keeps working. No registration and no extra accounts: choose a plan, pay, and your personal link arrives in this chat within seconds.

    It works on phones, computers and TVs.
home-active =
    <b>Hello, { $name }!</b>

    ✅ Your VPN is on until <b>{ $until }</b> ({ $left } left).
home-expired =
    <b>Hello, { $name }!</b>

    Your VPN has been off since { $until }. Renew it and the same link works again; there is nothing to set up anew.

button-buy = 🚀 Get VPN
button-plans = 🛍 All plans
button-renew = 🔄 Renew
button-subscription = 🔑 My subscription
button-invite = 🎁 Invite a friend
button-help = 💬 Help
button-language = 🌐 Язык / Language
button-home = « Menu
button-back = ‹ Back
button-retry = 🔁 Try again

## Plans

plans =
    <b>Choose a plan</b>

    Every plan comes with your personal link and works on all your devices.
plans-none =
    <b>Nothing is on sale at the moment</b>

    Please look in a little later. A subscription that you have paid for keeps working.
button-plan = { $title } · from { $price }
periods =
    <b>{ $title }</b>

    How long should it last?

    { $list }
periods-renew =
    <b>{ $title }, renewal</b>

    The new days are added to those you still have. How many shall it be?

    { $list }
period-line = • { $period }: <b>{ $price }</b>
period-line-saving = • { $period }: <b>{ $price }</b>, that is { $monthly } a month, <b>{ $percent }%</b> less
button-period = { $period } · { $price }
button-period-saving = { $period } · { $price } · −{ $percent }%
methods =
    <b>{ $title }, { $period }</b>
    Price: <b>{ $price }</b>

    How would you like to pay?
methods-none =
    <b>{ $title }, { $period }</b>

    This offer cannot be paid for at the moment. Please choose another one or look in a little later.
button-method-stars = ⭐ Telegram Stars · { $price }
button-method-cryptopay = 💎 Crypto · { $price }

## Payment

pay-cryptopay =
    <b>{ $title }, { $period }</b>
    To pay: <b>{ $price }</b>

    1. Tap “Pay” and pay in @CryptoBot.
    2. Come back here: your link arrives by itself as soon as the payment is confirmed.

    The invoice is valid for { $minutes ->
        [one] { $minutes } minute
       *[other] { $minutes } minutes
    }.
pay-stars =
    <b>{ $title }, { $period }</b>
    To pay: <b>{ $price }</b>

    The invoice is in the message below 👇 Your link arrives right after the payment.
pay-stars-waiting =
    <b>{ $title }, { $period }</b>
    To pay: <b>{ $price }</b>

    The invoice is already in this chat; pay it once and your link arrives right away. If you can’t find it, I’ll send it again.
pay-pending =
    <b>The payment hasn’t arrived yet</b>

    It usually takes less than a minute, sometimes a few. You don’t have to wait here: the link comes to this chat by itself.
pay-done =
    <b>It’s paid, thank you!</b> ✅

    Your subscription is on and your link is ready.
pay-closed =
    <b>This invoice is closed</b>

    It hasn’t been paid in time. If you did pay it, don’t worry: the money is accounted for as soon as it arrives. Otherwise simply choose a plan again.
pay-provider-down =
    <b>The payment service isn’t answering</b>

    You haven’t been charged anything. Please try again in a minute or pay another way.
button-pay = 💳 Pay { $price }
button-check-paid = ✅ I’ve paid
button-invoice-again = 📨 Send the invoice again
button-other-method = ‹ Another way to pay

invoice-title = VPN: { $period }
invoice-description = { $title }, { $period }. Your personal link arrives in this chat right after the payment.

alert-check-refused-expired = This invoice is out of date. Please choose a plan again; nothing was charged.
alert-check-refused-changed = The price has changed meanwhile. Please choose the plan again; nothing was charged.
alert-check-refused-paid = This purchase is already paid for; nothing was charged a second time.
alert-check-refused-unknown = I don’t know this invoice. Please choose a plan again; nothing was charged.
alert-check-refused-repair = We are fixing something right now. Please try again in a few minutes; nothing was charged.

## Receipt and other notices

receipt =
    <b>Payment received, thank you!</b> ✅

    Plan: <b>{ $title }</b>
    On until: <b>{ $until }</b>
receipt-renewed =
    <b>Renewed, thank you!</b> ✅

    Plan: <b>{ $title }</b>
    On until: <b>{ $until }</b>

    Your link stays the same; there is nothing to change.
receipt-no-link = Your link will be ready in a moment: tap “My subscription”.
link-block =
    Your link (tap to copy):
    { $link }
connect-steps =
    <b>How to connect</b>
    1. Install an app: “Help” names one for your device.
    2. Copy the link, or scan the QR code with another device.
    3. In the app: “+” → “Import from clipboard”, then turn it on.
expired-notice =
    <b>Your subscription has ended</b>

    The VPN is off since { $until }. Renew it and the same link works again.
underpaid =
    <b>The payment was smaller than the price</b>

    Received: <b>{ $received }</b>, still missing: <b>{ $missing }</b>. Nothing is lost: what you paid is on your balance. Please write to support, and we’ll sort it out together.
second-charge-refund =
    <b>You paid twice</b>

    The purchase was already paid for, so we are returning <b>{ $amount }</b> to you. You don’t have to do anything.
second-charge-balance =
    <b>You paid twice</b>

    The purchase was already paid for, so <b>{ $amount }</b> went to your balance.
payment-held =
    <b>We have received your payment</b>

    { $amount } has arrived, but it needs a look by a human before it can be credited. We’ll write to you; you don’t have to pay again.
held-charge =
    ⚠️ <b>A payment needs your decision</b>

    Provider: { $provider }
    Charge: <code>{ $charge_id }</code>
    Amount: { $amount } { $currency }
    Reason: { $reason }
    Purchase: { $purchase }
    Telegram id: <code>{ $telegram_id }</code>

    The money is booked as held; nothing was credited to the customer.
overpaid = You paid a little more than the price: { $amount } went to your balance.
notice-unknown =
    <b>News about your account</b>

    Open the menu to see how your subscription stands.

## Subscription

subscription-none =
    <b>You have no subscription yet</b>

    Choose a plan, and it’s ready a few seconds after the payment.
subscriptions =
    <b>Your subscriptions</b>

    Choose one to see its link and renew it.
button-one-subscription = { $title } · { $state ->
        [active] until { $until }
       *[expired] off since { $until }
    }
subscription-active =
    🔑 <b>{ $title }</b>

    ✅ On until <b>{ $until }</b>
    Time left: <b>{ $left }</b>
subscription-starting =
    🔑 <b>{ $title }</b>

    ⏳ Being switched on, it usually takes a few seconds
    Paid until <b>{ $until }</b>
subscription-expired =
    🔑 <b>{ $title }</b>

    ⛔️ Off since <b>{ $until }</b>

    Renew it and the same link works again.
subscription-no-server = The servers are just being set up; your link will appear here soon.
left-hours = { $count ->
        [0] less than an hour
        [one] { $count } hour
       *[other] { $count } hours
    }
button-copy = 📋 Copy the link
button-qr = 📷 QR code
button-how-to-connect = 📱 How to connect
qr-caption =
    <b>{ $title }</b>

    Scan it in the VPN app of another device.
qr-unavailable = The picture couldn’t be drawn just now, but the link does the same:

## Referrals

invite =
    <b>Invite a friend</b>

    Send this link to a friend. Whoever comes by it will be counted as your guest.

    { $link }

    { $count ->
        [0] Nobody has come by it yet.
        [one] <b>{ $count }</b> person has come by it so far.
       *[other] <b>{ $count }</b> people have come by it so far.
    }
button-share = 📤 Share
alert-share-text = A VPN that simply works:

## Help

help =
    <b>Help</b>

    Which device would you like to connect? I’ll show you an app and the steps.
help-support = Still stuck? Write to { $support }.
help-android =
    <b>Android</b>

    1. Install <b>Hiddify</b> or <b>v2rayNG</b> from Google Play.
    2. Copy your link under “My subscription”.
    3. Hiddify: “+” → “Add from clipboard”. v2rayNG: “+” → “Import from clipboard”.
    4. Tap the big round button and allow the VPN connection.
help-ios =
    <b>iPhone and iPad</b>

    1. Install <b>Streisand</b> or <b>Happ</b> from the App Store.
    2. Copy your link under “My subscription”.
    3. In the app: “+” → “Add from clipboard”.
    4. Turn the switch on and allow the VPN configuration.
help-windows =
    <b>Windows</b>

    1. Install <b>Hiddify</b> or <b>v2rayN</b> from its page on GitHub.
    2. Copy your link under “My subscription”.
    3. Hiddify: “+” → “Add from clipboard”. v2rayN: press Ctrl+V in its window.
    4. Turn it on; in v2rayN choose “Set system proxy” or TUN mode.
help-macos =
    <b>macOS</b>

    1. Install <b>Streisand</b> or <b>Happ</b> from the App Store, or <b>Hiddify</b> from GitHub.
    2. Copy your link under “My subscription”.
    3. In the app: “+” → “Add from clipboard”.
    4. Turn it on and allow the VPN configuration.
help-linux =
    <b>Linux</b>

    1. Install <b>Hiddify</b> (AppImage or deb on GitHub).
    2. Copy your link under “My subscription”.
    3. In the app: “+” → “Add from clipboard”.
    4. Turn it on; “VPN” mode asks for your password once.
help-tv =
    <b>Android TV</b>

    1. Install <b>Happ</b> or <b>v2rayNG</b> from Google Play on the TV.
    2. Open “My subscription” → “QR code” on your phone.
    3. Scan it with the app, or send the link to the TV.
    4. Turn it on and allow the VPN connection.
button-platform-android = Android
button-platform-ios = iPhone · iPad
button-platform-windows = Windows
button-platform-macos = macOS
button-platform-linux = Linux
button-platform-tv = Android TV

## Language

languages = <b>Choose a language</b>
button-this-language = English

## What went wrong, kindly

alert-stale = This button is out of date. Here is the current menu.
stale =
    <b>This button is out of date</b>

    Something has changed since I sent it. Nothing was bought and nothing is lost: here is the current menu.
not-yours =
    <b>I can’t show this</b>

    It isn’t among your subscriptions and purchases. Here is your own menu.
not-on-sale =
    <b>This offer is no longer on sale</b>

    Prices or plans have changed. Please choose again.
unknown-text =
    I don’t understand words, but the buttons below can do everything.
trouble =
    <b>Something went wrong on our side</b>

    It has been noted. Please try again in a minute; your payments and your subscription are safe.
repair =
    🔧 <b>We are being repaired</b>

    The bot is back in a few minutes. Your VPN keeps working, and no payment gets lost.
alert-repair = We are being repaired and back in a few minutes. Your VPN keeps working.

## Commands

command-start = Menu
command-buy = Get or renew the VPN
command-subscription = My subscription and link
command-help = How to connect
command-language = Язык / Language

# The one entry that an app shows for a subscription that has ended.
profile-expired = Ended: renew it in the bot
