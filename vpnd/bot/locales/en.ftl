# English. Keys that begin with button-, alert-, command- or invoice- are plain text, and so are bot- and page-; all the others are Telegram HTML.
# Every file has the same keys with the same placeholders: ./dev check proves it.

## Money, periods, dates

money-rub = { $amount }{"\u00A0"}₽
money-usd = ${ $amount }
money-eur = €{ $amount }
money-xtr = { $amount }{"\u00A0"}⭐
money-other = { $amount }{"\u00A0"}{ $currency }

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

moment = { $day }, { $time } ({ $zone })
span = { $count } { $unit ->
        [d] d
        [h] h
        [min] min
       *[s] s
    }

## Home

home-new =
    <b>Hello, { $name }!</b>

    Here you get a fast and private VPN that keeps working. No registration and no extra accounts: choose a plan, pay, and your personal link arrives in this chat within seconds.

    It works on phones, computers and TVs.
home-active =
    <b>Hello, { $name }!</b>

    ✅ Your VPN is on until <b>{ $until }</b> ({ $left } left).
home-starting =
    <b>Hello, { $name }!</b>

    ⏳ Your VPN is being switched on; it usually takes a few seconds. It is paid until <b>{ $until }</b>.
home-balance = 💰 On your balance: <b>{ $total }</b>
home-expired =
    <b>Hello, { $name }!</b>

    ⛔️ Your VPN has been off since { $until }. Renew it and the same link works again; there is nothing to set up anew.

button-buy = 🚀 Get VPN
button-plans = 🛍 All plans
button-renew = 🔄 Renew
button-subscription = 🔑 My subscription
button-invite = 🎁 Invite a friend
button-balance = 💰 Balance
button-promo = 🎟 Promo code
button-help = 💬 Help
button-language = 🌐 Язык / Language
button-trial = 🎁 Try it free: { $period }
button-notifications = 🔔 Notifications
button-choose-plan = 🛍 Choose a plan
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
periods-more =
    <b>{ $title }, one more subscription</b>

    It comes with a link of its own, beside what you have. How long should it last?

    { $list }
period-line = • { $period }: <b>{ $price }</b>
period-line-saving = • { $period }: <b>{ $price }</b>, that is { $monthly } a month, <b>{ $percent }%</b> less
button-period = { $period } · { $price }
button-period-saving = { $period } · { $price } · −{ $percent }%
methods =
    <b>{ $title }, { $period }</b>
    Price: <b>{ $price }</b>
methods-discounted =
    <b>{ $title }, { $period }</b>
    Price: <s>{ $list }</s> <b>{ $price }</b> (−{ $percent }%)
methods-promo = 🎟 Your promo code <b>{ $code }</b> is included.
methods-promo-days = 🎟 Your promo code <b>{ $code }</b> adds <b>{ $bonus }</b> on top.
methods-monthly = ⭐ “Every month” is charged by Telegram itself, without discounts, until you stop it; that takes one tap.
methods-terms = By paying you agree to the terms; the button below opens them.
button-terms = 📄 Terms
methods-question = How would you like to pay?
methods-none =
    <b>{ $title }, { $period }</b>

    This offer cannot be paid for at the moment. Please choose another one or look in a little later.
button-method-stars = ⭐ Telegram Stars · { $price }
button-method-stars_monthly = ⭐ Stars, every month · { $price }
button-method-yookassa = 💳 Card or SBP · { $price }
button-method-balance = 💰 Balance · you have { $have }
button-method-cryptopay = 💎 Crypto · { $price }

## Payment

subject-access = { $title }, { $period }
subject-access-bonus = { $title }, { $period } + { $bonus }
subject-topup = Balance top-up
pay-cryptopay =
    <b>{ $what }</b>
    To pay: <b>{ $price }</b>

    1. Tap “Pay” and pay in @CryptoBot.
    2. Come back here: I’ll write to you as soon as the payment is confirmed.

    The invoice is valid for { $minutes ->
        [one] { $minutes } minute
       *[other] { $minutes } minutes
    }.
pay-yookassa =
    <b>{ $what }</b>
    To pay: <b>{ $price }</b>

    1. Tap “Pay” and choose a card or SBP.
    2. Come back here: I’ll write to you as soon as the payment is confirmed.

    The invoice is valid for { $minutes ->
        [one] { $minutes } minute
       *[other] { $minutes } minutes
    }.
pay-stars =
    <b>{ $what }</b>
    To pay: <b>{ $price }</b>

    The invoice is in the message below 👇 The rest happens by itself right after the payment.
pay-stars-waiting =
    <b>{ $what }</b>
    To pay: <b>{ $price }</b>

    The invoice is already in this chat; pay it once and the rest happens by itself. If you can’t find it, I’ll send it again.
pay-stars-monthly =
    <b>{ $what }</b>
    To pay: <b>{ $price }</b> every month

    Telegram charges it by itself, and your subscription goes on without you doing anything. You can stop it at any time, here or in Telegram’s settings; what you have paid for stays yours.
pay-balance =
    <b>{ $what }</b>
    Price: <b>{ $price }</b>

    Pay it from your balance? <b>{ $left }</b> will be left on it.
pay-balance-short =
    <b>Your balance is a little short</b>

    { $what }
    Price: <b>{ $price }</b>, on the balance: <b>{ $have }</b>, missing: <b>{ $missing }</b>

    { $fill ->
        [yes] Fill it up, or pay another way.
       *[no] Please pay another way.
    } Nothing has been taken.
pay-pending =
    <b>The payment hasn’t arrived yet</b>

    It usually takes less than a minute, sometimes a few. You don’t have to wait here: { $kind ->
        [topup] I’ll write to you as soon as it arrives.
       *[access] the link comes to this chat by itself.
    }
pay-done =
    <b>It’s paid, thank you!</b> ✅

    { $kind ->
        [topup] The money is on your balance.
       *[access] Your subscription is on and your link is ready.
    }
pay-refunded =
    <b>This purchase was refunded</b>

    The money went back. If you’d like the VPN again, simply choose a plan.
pay-incomplete =
    <b>A part of the price is still missing</b>

    What you paid is safe. Only <b>{ $missing }</b> is missing: pay it, and everything is switched on.
pay-closed =
    <b>This invoice is closed</b>

    It hasn’t been paid in time. If you did pay it, don’t worry: the money is accounted for as soon as it arrives. Otherwise simply { $kind ->
        [topup] fill the balance again.
       *[access] choose a plan again.
    }
pay-provider-down =
    <b>The payment service isn’t answering</b>

    You haven’t been charged anything. Please try again in a minute or pay another way.
button-pay = 💳 Pay { $price }
button-pay-monthly = ⭐ Subscribe: { $price } a month
button-pay-balance = ✅ Pay { $price } from the balance
button-complete = 💳 Pay the missing { $price }
button-top-up = ➕ Top up
button-top-up-by = ➕ Top up by { $amount }
button-check-paid = ✅ I’ve paid
button-invoice-again = 📨 Send the invoice again
button-other-method = ‹ Another way to pay

invoice-title = VPN: { $period }
invoice-title-topup = Balance top-up
invoice-description = { $what }. Your personal link arrives in this chat right after the payment.
invoice-description-topup = Balance top-up. The money is on your balance right after the payment.

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
receipt-automatic =
    <b>Renewed by itself</b> ✅

    Plan: <b>{ $title }</b>
    On until: <b>{ $until }</b>

    You don’t have to do anything. Your link stays the same.
receipt-no-link = Your link will be ready in a moment: tap “My subscription”.
link-block =
    Your link (tap to copy):
    { $link }
connect-steps =
    <b>How to connect</b>
    Choose your device below: I’ll show you an app, and your link gets into it by one tap.
expired-notice =
    <b>Your subscription has ended</b>

    The VPN is off since { $until }. Renew it and the same link works again.
underpaid =
    <b>The payment was smaller than the price</b>

    Received: <b>{ $received }</b>, still missing: <b>{ $missing }</b>. Nothing is lost: what you paid is on your balance. Pay the rest, and everything is switched on at once.
underpaid-spent =
    <b>The payment has arrived</b>

    Received: <b>{ $received }</b>. What you had paid before was spent from your balance meanwhile, so it doesn’t make up the price any more. All the money is on your balance; buy from there, or fill it up.
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

    The money is booked as held; nothing was credited to the customer. To give it back:
    <code>/refund { $provider }:{ $charge_id }</code>
overpaid = You paid a little more than the price: { $amount } went to your balance.
refund-refused =
    ⚠️ <b>A provider doesn’t pay a refund out</b>

    Provider: { $provider }
    Charge: <code>{ $charge_id }</code>
    Amount: { $amount }
    Reason: { $reason }
    Telegram id: <code>{ $telegram_id }</code>

    If the customer is ours, the money is on his balance and he was told; otherwise it waits for you.
books-wrong =
    🚨 <b>The books don’t add up</b>

    What: { $what }
    Currency: { $currency }
    By: { $amount }

    Please look into it before anything else.
reconciliation =
    ⚠️ <b>{ $provider } and our books differ</b>

    Differences: { $differences }, mended: { $mended }
    The first: { $first }
topped-up =
    <b>Your balance has been filled</b> ✅

    <b>{ $amount }</b> has arrived.
referral-reward =
    🎁 <b>Your guest has paid</b>

    You get { $percent }% of it: <b>{ $amount }</b> is on your balance. Thank you for inviting!
refund-notice =
    <b>Refund: { $amount }</b>

    { $where ->
        [balance] The money is on your balance.
        [made] The payment service has returned it to you.
       *[provider] The money goes back the way you paid it. That usually takes minutes, with some banks a few days.
    }
refund-notice-until = The subscription now runs until <b>{ $until }</b>.
refund-notice-off = The subscription is off with that.
refund-to-balance =
    <b>Your refund is on your balance</b>

    The payment service couldn’t return the money, so <b>{ $amount }</b> is on your balance now. If you need it another way, please write to support.
renewal-short =
    <b>Your subscription ends soon</b>

    It is on until <b>{ $until }</b>. Renewing costs <b>{ $price }</b>, and your balance is short of <b>{ $missing }</b>. { $fill ->
        [yes] Fill it up, and it renews itself.
       *[no] Renew it another way, and nothing is interrupted.
    }
renewal-unavailable =
    <b>Your subscription can’t renew itself</b>

    What you bought isn’t on sale any more. It is on until <b>{ $until }</b>; choose something new, and it goes on.
button-pay-waiting = ✅ Finish the purchase: { $price }
button-renew-other = 🔄 Renew another way
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
button-renewal-on = 🔁 Turn auto-renewal on
button-renewal-off = ⏹ Stop auto-renewal
button-stop-stars = ⏹ Stop renewing
button-stop-stars-yes = ⏹ Yes, stop renewing
button-change-plan = 🔀 Change the plan
button-change-to = { $title } · { $left }
button-change-yes = ✅ Change the plan
button-one-more = ➕ One more subscription
button-named-subscription = { $state ->
        [active] ✅ { $title }
       *[expired] ⛔️ { $title }
    }
button-rename = ✏️ Name
button-unname = ✖️ Take the name away
button-rotate = ♻️ New link
button-rotate-yes = ♻️ Yes, make a new link
rename =
    ✏️ <b>What would you like to call it?</b>

    Write a name here, for instance “Mum’s phone”: at most { $most } characters. Only you see it.
rename-again =
    ✏️ <b>That is a little too long</b>

    Please write a name of at most { $most } characters.
rename-now = It is called <b>{ $title }</b> now.
rotate =
    ♻️ <b>A new link for { $title }?</b>

    The old link stops working at once, also the old QR code and the old page, and every device that is connected by it is cut off. Afterwards set the new link up on your own devices.

    What you have paid for stays as it is. It helps when somebody else has got hold of your link.
rotate-done =
    ♻️ <b>Here is your new link</b>

    The old one doesn’t work any more. Please replace it in the apps on your devices.
rotate-too-soon =
    <b>{ $title } has just got a new link</b>

    You can make another one in { $minutes ->
        [one] { $minutes } minute
       *[other] { $minutes } minutes
    }. The present link works.
renews-off = 🔁 Auto-renewal is off.
renews-balance = 🔁 It renews itself from your balance shortly before it ends. If the money isn’t enough, I’ll tell you in time.
renews-stars = ⭐ Telegram renews it by itself every month.
stop-stars =
    <b>Stop renewing { $title }?</b>

    Telegram will charge no more Stars for it. It stays on until <b>{ $until }</b>; what you have paid for is yours.
change-plan =
    <b>{ $title }: change the plan</b>

    You have { $left } left. They become time of the other plan, worth the same: nothing is paid twice. So long they would last:
change-none =
    <b>{ $title }</b>

    There is no other plan to change to at the moment.
change-confirm =
    <b>Change from { $title } to { $other }?</b>

    Left now: <b>{ $before }</b> of { $title }
    Afterwards: <b>{ $after }</b> of { $other }, until <b>{ $until }</b>

    Your link stays the same.
change-again = ❗️ Prices have changed since I asked, so nothing was done. This is how it stands now:
change-stars =
    <b>Telegram renews this subscription by itself</b>

    It would go on charging the price of the present plan. Stop renewing first, then change the plan.
change-impossible =
    <b>The plan can’t be changed like this</b>

    Either nothing of the time is left, or it is that plan already, or it isn’t on sale any more.
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
invite-level = 🎁 You get <b>{ $percent }%</b> of what your guests pay, on your balance.
invite-next = { $count ->
        [one] One more paying guest, and you get <b>{ $percent }%</b>.
       *[other] { $count } more paying guests, and you get <b>{ $percent }%</b>.
    }
invite-earned = Paying guests: <b>{ $paying }</b>, earned so far: <b>{ $earned }</b>
invite-qr =
    🎁 <b>Invite a friend</b>

    Let your friend scan this, or send the link:
    { $link }
button-share = 📤 Share
alert-share-text = A VPN that simply works:
## Balance

balance =
    <b>Your balance</b>

    💰 <b>{ $total }</b>
balance-bonus = Of that a gift from us: <b>{ $bonus }</b>
balance-use = You can pay for any plan with it, and let your subscription renew itself.
button-history = 📜 History
button-buy-more = 🛍 Buy or renew
button-newest = « Newest
button-older = Older »
button-amount = { $amount }
button-other-amount = ✍️ Another amount
history =
    <b>History of your balance</b>

    { $list }
history-none =
    <b>History of your balance</b>

    Nothing has happened here yet.
history-line = { $date } · <b>{ $sign }{ $amount }</b> · { $what }
history-line-gift = { $date } · 🎁 <b>{ $sign }{ $amount }</b> · { $what }
history-what = { $kind ->
        [payment] payment
        [sale] purchase
        [sale_bonus] purchase
        [refund] a purchase was returned
        [refund_bonus] a purchase was returned
        [refund_out] returned to you
        [refund_back] a refund came back
        [promo] promo code
        [referral] reward for a guest
        [referral_back] a guest’s purchase was returned
        [receivable] lent by us
        [repayment] paid back to us
        [adjustment] corrected by us
        [reversal] corrected by us
       *[other] entry
    }
topup =
    <b>Top up</b>

    By how much?
topup-none =
    <b>Top up</b>

    The balance can’t be filled at the moment. Please look in a little later.
topup-write =
    <b>Another amount</b>

    Write it here, for instance: { $example }
    From { $least } to { $most }.
topup-again =
    <b>I didn’t quite get that</b>

    Please write just the amount, for instance: { $example }
    From { $least } to { $most }.
topup-methods =
    <b>Top-up: { $amount }</b>

    How would you like to pay?
topup-no-method =
    <b>Top-up: { $amount }</b>

    This amount can’t be paid at the moment. Please choose another one.

## Promo codes

promo =
    <b>Promo code</b>

    Write it here in one message.
promo-waiting = The code <b>{ $code }</b> is waiting for your next purchase.
promo-forgotten =
    <b>The code was put aside</b>

    It doesn’t count for your next purchase any more. You can enter it again.
promo-percent =
    <b>The code { $code } is yours</b> ✅

    Your next purchase is <b>{ $percent }%</b> cheaper.
promo-days =
    <b>The code { $code } is yours</b> ✅

    Your next purchase comes with <b>{ $bonus }</b> on top.
promo-granted =
    <b>A gift: { $bonus }</b> 🎁

    Your subscription is on until <b>{ $until }</b> now.
promo-credited =
    <b>A gift: { $amount }</b> 🎁

    It is on your balance.
promo-unknown =
    <b>There is no such promo code</b>

    Please check the letters and try again.
promo-early =
    <b>This promo code isn’t valid yet</b>

    Please try it a little later.
promo-over =
    <b>This promo code has run out</b>

    Its time is over. The plans are here at their usual prices.
promo-used-up =
    <b>This promo code is used up</b>

    Others were faster. The plans are here at their usual prices.
promo-already-used =
    <b>You have used this promo code</b>

    It can’t be used once more. The plans are here at their usual prices.
button-forget-promo = ✖️ Put the code aside
button-another-promo = 🎟 Another code

## Refunds, for admins

refund-usage =
    <b>Give money back</b>

    <code>/refund purchase</code> or <code>/refund provider:charge</code>, and an amount behind it for a part of it.
refund-unknown =
    <b>No such purchase or charge</b>

    Write the purchase’s name (p…) or provider:charge, as the message about it or the cabinet says.
refund-bad-amount =
    <b>This is no amount</b>

    Write it in the currency of the charge, for instance 99.50.
refund-charge =
    { $name }
    { $date }, { $kind ->
        [access] access
        [topup] top-up
       *[other] { $kind }
    }, { $outcome ->
        [settled] settled
        [second_charge] a second payment
        [underpaid] too little
        [held] held
       *[other] { $outcome }
    }
    Paid: <b>{ $amount }</b>, went back: { $refunded }, left: <b>{ $left }</b>
    Purchase: <code>{ $purchase }</code>
    Telegram id: <code>{ $payer }</code>
refund-part = Of that is to go back: <b>{ $amount }</b>
refund-nothing-left = Nothing of it is left to give back.
refund-which = A part can be given back of one charge only: write its name instead of the purchase’s.
refund-confirm =
    <b>Give back { $amount }?</b>

    Where: { $where ->
        [balance] to the customer’s balance
       *[payer] to who paid, by the provider
    }
    Purchase: <code>{ $purchase }</code>
    Telegram id: <code>{ $payer }</code>
refund-access-kept = Access stays as it is.
refund-access-shortened = Access is shortened: it ends on <b>{ $until }</b>.
refund-access-off = Access is switched off at once.
refund-asked =
    <b>The refund is under way</b> ✅

    The provider is asked until it has answered. The customer ({ $payer }) is told; if the money can’t be paid out, it goes to his balance and you are told too.
refund-booked =
    <b>The money is on the balance</b> ✅

    The customer ({ $payer }) is told.
refund-impossible =
    <b>This can’t be given back like that</b>

    { $why ->
        [unknown_charge] There is no such charge.
        [nothing_left] All of it went back already.
        [too_much] Less than that is left of it.
        [whole_only] Stars go back whole or not at all.
        [no_route] This money can’t go that way: only to the balance, or only to the provider.
        [on_balance] It lies on the customer’s balance already.
        [spent] The customer has spent it.
       *[other] The shop refuses it.
    }
button-refund-payer = ↩️ Give back to the payer
button-refund-balance = 💰 To the balance
button-refund-yes = ✅ Yes, give it back

## Reminders

reminder =
    { $when ->
        [h3] ⏳ <b>Your subscription ends very soon</b>
        [d1] ⏳ <b>Your subscription ends soon</b>
       *[other] 📅 <b>Your subscription is coming to its end</b>
    }

    { $title } is on until <b>{ $until }</b>.
    Time left: <b>{ $left }</b>

    { $when ->
        [h3] Renew it now and nothing is interrupted: the new days are added to what is left.
        [d1] Renew it in time and nothing is interrupted: the new days are added to what is left.
       *[other] You lose nothing by renewing early: the new days are added to what is left.
    }
reminder-over =
    { $when ->
        [d1] <b>Your VPN is off</b>
        [d3] <b>Your VPN is still off</b>
       *[other] <b>Shall we go on?</b>
    }

    { $title } ended on <b>{ $until }</b>. Renew it and the same link works again; there is nothing to set up anew.{ $when ->
        [d7] {" "}I won’t remind you of it again.
       *[other] {""}
    }

## Maintenance of a node

maintenance =
    🔧 <b>Maintenance is planned</b>

    The server <b>{ $node }</b> is worked on from <b>{ $start }</b> until <b>{ $end }</b>. The connection through it can break off meanwhile; afterwards it works again by itself.{ $others ->
        [yes] {" "}Your app has other servers: choose one of them for that time.
       *[no] {""}
    }

    You don’t have to do anything, and your link stays the same.

## Trial

trial =
    🎁 <b>Try it free</b>

    You get <b>{ $title }</b> for <b>{ $period }</b>: no payment, and nothing is charged afterwards. Your personal link comes here at once.

    There is one trial for each customer. If you buy a plan before it ends, the rest of it is added and the link stays the same.
trial-started =
    <b>Your trial has begun</b> 🎁

    Plan: <b>{ $title }</b>
    On until: <b>{ $until }</b>
    Time left: <b>{ $left }</b>
trial-off =
    <b>There is no trial at the moment</b>

    The plans are here whenever you like.
trial-paused =
    <b>Trials are paused just now</b>

    Please look in a little later; yours isn’t lost.
trial-used =
    <b>You have had your trial</b>

    There is one for each customer. The plans are here whenever you like; a link that you have set up works again once you buy one.
trial-active =
    <b>Your VPN is on already</b>

    There is nothing left to try: your link is under “My subscription”.
trial-bought =
    <b>The trial is for newcomers</b>

    You have bought from us before, so you know how it works. The plans are here whenever you like.
trial-checkup =
    <b>Is everything working?</b>

    Your trial is on until <b>{ $until }</b>; time left: <b>{ $left }</b>. If it isn’t connected yet, the steps for your device are behind the button.
trial-progress =
    <b>How do you like it?</b>

    Your trial of { $title } is on until <b>{ $until }</b>; time left: <b>{ $left }</b>.

    Choose a plan whenever you like: the rest of the trial is added to it, and the link stays the same.
trial-ending =
    ⏳ <b>Your trial ends soon</b>

    { $title } is on until <b>{ $until }</b>; time left: <b>{ $left }</b>.

    Choose a plan before that and nothing is interrupted: the link stays the same.
trial-ended =
    <b>Your trial has ended</b>

    The VPN is off since <b>{ $until }</b>. Nothing was charged. Choose a plan and the same link works again; there is nothing to set up anew.
button-start-trial = 🎁 Begin the trial

## Notifications

notifications =
    🔔 <b>Notifications</b>

    Your clock: <b>{ $time }</b> ({ $zone })
    Quiet hours: <b>{ $quiet ->
        [on] { $start }–{ $end }
       *[off] none
    }</b>

    In the quiet hours no reminders come. What happens with your payments and your access is told at once.
time-zones =
    🕐 <b>What time is it where you are?</b>

    Choose what your clock shows now. Where clocks are moved in summer, choose again then.
quiet-from = 🌙 <b>From what time should it be quiet?</b>
quiet-to = ☀️ <b>Until what time should it be quiet?</b>
button-time-zone = 🕐 My clock shows another time
button-quiet-from = 🌙 From { $time }
button-quiet-to = ☀️ Until { $time }
button-quiet-off = 🔔 Remind me at any time
button-quiet-on = 🌙 Turn quiet hours on
button-west = ‹ West
button-east = East ›

## Status and switches, for admins

node-stopped =
    🚨 <b>Node { $node } waits for you</b>

    { $reason ->
        [empty] The database knows no subscription at all, and the node serves customers.
        [behind] The database is an older copy of itself: the node has done what the log never had.
        [strangers] Too much of what the node serves is unknown to the shop.
        [newer] The node holds too much in a newer version than the shop.
       *[other] What was seen there lets the database be the wrong one ({ $reason }).
    }
    Served there: { $held }, unknown: { $strangers }, newer: { $newer }

    Nothing is taken away there until a person decides: look with <code>vpnd doctor</code>, put the right database in its place, or accept what was seen: <code>vpnd doctor --accept-node { $node }</code>
activation-late =
    ⚠️ <b>Paid, and no node has let him in</b>

    Subscription: <code>{ $subscription_id }</code>, plan: { $plan_id }
    Telegram id: <code>{ $telegram_id }</code>
    Waits since: { $since }
    Tries: { $attempts }

    It is tried on by itself.
activation-late-others = { $count ->
        [one] { $count } more waits like this one.
       *[other] { $count } more wait like this one.
    }
alarms-raised = 🚨 <b>Alarms</b>
alarms-cleared = ✅ <b>Over</b>
alarm-line = • { $what }: <b>{ $value }{ $unit }</b>{ $who }, the limit is { $threshold }
alarm-line-cleared = • { $what }: { $value }{ $unit } at worst{ $who }, the limit is { $threshold }
alarm-more = … and { $count } more
alarm-what = { $name ->
       *[other] { $what }
    }
alarm-unit = { $unit ->
        [share] of 1
       *[other] { $unit }
    }
status-nothing = Nothing is known of the daemon.
status-service = <b>{ $name } { $version }</b>, up { $up }
status-line = { $line }
status-child = ❗️ { $name }: { $state }
status-error = ❗️ { $part }: { $error }
status-unread = ❗️ { $part }: it says something that this screen cannot read
status-no-alarms = ✅ No alarm is raised
status-paused = ⏸ Paused: <b>{ $names }</b>
status-workers = <b>Workers</b>
status-worker = { $state ->
        [failing] ❗️ { $name }: { $outcome }, { $ago } ago, failed in a row: <b>{ $count }</b>
        [paused] ⏸ { $name }: { $outcome }, { $ago }
        [new] ▫️ { $name }: not yet
       *[fine] ▪️ { $name }: { $outcome }, { $ago } ago
    }
status-queues = <b>Queues</b>: inbox { $inbox } ({ $age }), given up { $dead }
status-outbox = • { $kind }: { $count } ({ $age })
status-lanes = <b>Sending</b>: waiting { $waiting }; refused { $refused }
status-pools = <b>Pools</b>: database { $database }, HTTP { $http }{ $down ->
        [yes] {" "}❗️ the database is away
       *[no] {""}
    }
status-loop = <b>Loop</b>: longest step of the last minute { $worst } ms
status-process = <b>Process</b>: { $memory } MB ({ $growth } within the hour), { $cpu }% of a core, tasks: { $tasks }
status-nodes = <b>Nodes</b>: { $count }{ $overdue ->
        [0] {""}
       *[other] ; past their end and not expired: <b>{ $overdue }</b>
    }
status-node = • { $name }: { $seen ->
        [yes] { $ago } ago
       *[no] not seen yet
    }, behind { $behind }, expired but on { $on }, paid but off { $off }
status-money = <b>Today</b>{ $count ->
        [0] : nothing yet
       *[other] {""}
    }
status-takings = • { $provider }: { $more ->
        [yes] at least{" "}
       *[no] {""}
    }{ $count } · <b>{ $amount }</b>{ $held ->
        [0] {""}
       *[other] , held: { $held }
    }
switches = ⏯ <b>What can be paused</b>
switches-none-paused = Nothing is paused.
switch-paused = ⏸ <b>{ $name }</b> by { $by }, { $at }{ $why }
pause-confirm =
    <b>Pause { $name }?</b>

    { $what ->
        [shop] Nothing is sold and no balance is filled. What is paid all the same counts, and renewals go on.
        [trial] No trial is given.
       *[worker] It begins nothing new; what it is doing now is finished.
    }
switch-done = { $said ->
        [paused] ⏸ <b>{ $name }</b> is paused.
        [resumed] ▶️ <b>{ $name }</b> runs again.
        [paused-before] ⏸ <b>{ $name }</b> was paused already.
       *[resumed-before] ▶️ <b>{ $name }</b> was running already.
    }
banner = ⚠️ { $text }
banner-usage = Banner on the first screen and the plans: <code>/banner text</code>, <code>/banner off</code>
banner-done = { $said ->
        [shown] The banner is shown.
        [gone] The banner is gone.
       *[none] There was no banner.
    }
shop-paused =
    <b>Sales are paused for a while</b>

    Nothing was charged. What you have paid for keeps working; please look in a little later.
button-status = 📊 Status
button-refresh = 🔄 Refresh
button-switches = ⏯ Pause, resume…
button-pause = ⏸ { $name }
button-resume = ▶️ { $name }
button-pause-yes = ⏸ Yes, pause
button-banner-off = ✖️ Take the banner away

## Help

help =
    <b>Help</b>

    Which device would you like to connect? I’ll show you an app and the steps.
help-support = Still stuck? Write to { $support }.
connect =
    📱 <b>{ $title }: connect a device</b>

    Which device is it? I’ll show you an app, and your link gets into it by one tap.
connect-app =
    📱 <b>{ $platform }: { $app }</b>

    1. { $device ->
        [tv] Install <b>{ $app }</b> on the TV.
       *[other] Install <b>{ $app }</b>; “Get { $app }” leads to it.
    }
    2. { $how ->
        [open] Tap “Open in { $app }”: your link goes in by itself.
        [keys] Copy your link and press Ctrl+V in its window.
        [scan] Show the QR code on your phone and scan it with the app, or send the link to the TV.
       *[paste] Copy your link. In the app: “+” → “Add from clipboard”.
    }
    3. { $device ->
        [windows] Turn it on. If it asks: “Set system proxy” or TUN mode.
        [linux] Turn it on; “VPN” mode asks for your password once.
        [ios] Turn it on and allow the VPN configuration.
        [macos] Turn it on and allow the VPN configuration.
       *[other] Turn it on and allow the VPN connection.
    }
connect-first = First you need a link: get the VPN, and it is here within seconds.
connect-works =
    🎉 <b>Wonderful!</b>

    Enjoy it. The same link works on your other devices, too. I’ll remind you in time before it ends.
button-get-app = ⬇️ Get { $app }
button-open-app = 🚀 Open in { $app }
button-other-app = { $app }
button-works = ✅ It works
button-does-not-work = 🩺 It doesn’t work
button-look-again = 🔄 Look again
button-support = 💬 Write to support
diagnosis =
    🩺 <b>{ $title }: let’s see</b>
diagnosis-paid = { $paid ->
        [yes] ✅ It is paid until { $until }.
       *[no] ⛔️ Its time ended on { $until }.
    }
diagnosis-on = { $on ->
        [yes] ✅ It is switched on.
       *[no] ⛔️ It is switched off.
    }
diagnosis-heard = { $heard ->
        [all] ✅ { $count ->
            [one] The server knows you.
           *[other] All { $count } servers know you.
        }
        [some] ⏳ { $some } of { $count } servers know you so far.
        [none] ⏳ The servers are just being told of you.
       *[nobody] ⏳ There is no server yet.
    }
diagnosis-names = { $names } and { $count } more
diagnosis-answer = { $answer ->
        [all] ✅ Our servers answer.
        [some] ⚠️ Not answering just now: { $names }.
       *[none] ⛔️ Not answering just now: { $names }.
    }
diagnosis-step = <b>What to do</b>
    { $cause ->
        [over] Renew it, and the same link works again within seconds.
        [off] It was switched off before its time. Please write to support.
        [no_node] The servers are just being set up. Please look again a little later.
        [starting] It is usually ready within a minute. Please wait a moment and look again.
        [all_silent] It is on our side, and we have been alerted. There is nothing to change on your device: please look again in a few minutes.
        [some_silent] Choose another server in the app; update the subscription there first. We have been alerted to the one that is away.
       *[unseen] All is well on our side. Please try, one after the other: update the subscription in the app · turn the VPN off and on · end other VPN apps · look whether date and time of the device are right · try another network, Wi-Fi or mobile. If nothing helps, set it up once more, or make a new link.
    }
button-platform-android = Android
button-platform-ios = iPhone · iPad
button-platform-windows = Windows
button-platform-macos = macOS
button-platform-linux = Linux
button-platform-tv = Android TV

## My data

my-data =
    🗂 <b>My data</b>

    I know your Telegram id, the name you show in Telegram, your language, your clock and quiet hours, what you bought and paid, and the access you have. I don’t know where you go with the VPN: that is written down nowhere.

    You can have deleted what says who you are.
forget-me =
    🗂 <b>Delete my data?</b>

    At once and for good:
    • your access ends on all servers, and your links open nothing any more
    • your name, language, clock, quiet hours and the names you gave are deleted
    • reminders and messages that were waiting are withdrawn, and auto-renewal is off
forget-me-access = ⛔️ { $count ->
        [one] <b>{ $count }</b> subscription is
       *[other] <b>{ $count }</b> subscriptions are
    } still on, until <b>{ $until }</b>. The time that is left is lost.
forget-me-stars = ⭐ Telegram is asked to charge no more Stars.
forget-me-balance = 💰 <b>{ $balance }</b> on your balance stay yours: they are here when you write to me again, or support pays them out.
forget-me-kept = What is kept: your Telegram id, purchases, payments and the books, because the law and honest accounts want it; who was invited by whom, for the rewards of others; and whether you had a trial, which there is once. What you wrote to me in the last days is gone within a week.
forget-me-again = ❗️ I asked that a while ago, so nothing was deleted. Do you still want it? This is how it stands now:
forget-me-done =
    <b>It is deleted</b>

    I won’t write to you any more. If you ever come back, just write to me: then we begin anew. All the best!
button-my-data = 🗂 My data
button-forget-me = 🗑 Delete my data
button-forget-me-yes = 🗑 Yes, delete it for good
button-start-anew = 👋 Begin anew

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
too-fast =
    <b>One moment, please</b>

    That is more at once than I can answer. Wait a few seconds and go on: your subscription and your payments are safe.
alert-too-fast = One moment, please: that is quicker than I can answer.

## What Telegram shows before anybody writes, as plain text

bot-description =
    Fast and private VPN for phones, computers and TVs.

    Choose a plan and pay: your personal link is here within seconds, and it opens in an app by one tap. No registration and no extra accounts.

    Tap “Start” to begin.
bot-short-description = Fast and private VPN: a plan, a payment, and your link is here within seconds.

## Commands

command-start = Menu
command-buy = Get or renew the VPN
command-subscription = My subscription and link
command-balance = Balance and top-up
command-promo = Enter a promo code
command-help = How to connect
command-notifications = Reminders and quiet hours
command-language = Язык / Language

# The one entry that an app shows for a subscription that has ended.
profile-expired = Ended: renew it in the bot
profile-blocked = Access is closed
# The page that opens an app, as plain text.
page-open = Open in { $app }
page-open-button = Open { $app }
page-open-hint = Nothing happens? Install { $app } first, then tap the button again. Or copy your link in the chat with the bot.

## The desk of those who run the shop

desk =
    🛠 <b>The desk</b>

    Your role: <b>{ $role ->
        [owner] owner
        [manager] manager
        [support] support
        [reader] read-only
       *[none] none
    }</b>
desk-refused =
    🚫 <b>Your role does not allow this</b>

    The role of { $role ->
        [owner] an owner
        [manager] a manager
        [support] support
       *[reader] a reader
    } does not include <code>{ $action }</code>. Please ask an owner.
desk-done-already = ✅ This was done already: a second press changes nothing.
button-desk = 🛠 Desk
button-operators = 👥 Operators
button-audit-log = 📜 Audit log
operators =
    👥 <b>Operators</b>

    Owners from the configuration can only be changed there.
operator-fixed = • <code>{ $id }</code> · owner, from the configuration
operator-line = • { $name } <code>{ $id }</code> · { $role ->
        [owner] owner
        [manager] manager
        [support] support
       *[reader] read-only
    }
button-operator = ✏️ { $name }
button-operator-add = ➕ Add an operator
operator-ask = Who is it? Write a Telegram id, or the @name of somebody who has written to this bot.
operator-unknown = Nobody of that name has written to this bot. Check the spelling, or write the Telegram id.
operator =
    👤 <b>{ $name }</b> { $id }

    Role: <b>{ $role ->
        [owner] owner
        [manager] manager
        [support] support
        [reader] read-only
       *[none] none
    }</b>. Which shall it be?
button-role = { $role ->
        [owner] 👑 Owner
        [manager] 💼 Manager
        [support] 🎧 Support
        [reader] 👀 Read-only
       *[none] ✖️ Take the role away
    }
operator-confirm =
    <b>{ $name }</b> <code>{ $id }</code>, now { $before ->
        [owner] an owner
        [manager] a manager
        [support] support
        [reader] read-only
       *[none] without a role
    }.

    { $role ->
        [owner] As an <b>owner</b> this person may do everything, also make other operators.
        [manager] As a <b>manager</b> this person may change plans and prices, give money and days, send broadcasts, export data and pause the shop.
        [support] As <b>support</b> this person sees customers, writes to them, gives days and makes links anew.
        [reader] With <b>read-only</b> this person sees customers, money and figures, and changes nothing.
       *[none] Without a role this person is a customer like all others.
    }
button-role-yes = ✅ Yes
operator-done = ✅ <code>{ $id }</code>: { $role ->
        [owner] an owner now
        [manager] a manager now
        [support] support now
        [reader] read-only now
       *[none] no operator any more
    }.
audit-log = 📜 <b>What operators did</b>
audit-log-empty = 📜 <b>What operators did</b>

    Nothing yet.
audit-line = <b>{ $at }</b> { $actor } ({ $role })
    { $action } · { $subject }{ $change }{ $why }

## The catalogue, for those who run the shop

period-description = <i>{ $text }</i>
button-catalogue = 🏷 Catalogue
button-plans-edit = 📦 Plans and prices
button-promos = 🎟 Promo codes
button-discounts = 🎁 Discounts
button-texts = ✍️ Texts
button-ways = 💳 Ways to pay
button-catalogue-yes = ✅ Yes
catalogue =
    🏷 <b>The catalogue</b>

    Every change counts at once. What was bought, and what is being paid at this moment, keeps its price.
catalogue-done = ✅ Done.
catalogue-refused = ⚠️ { $reason ->
        [gone] That is not there any more. Look at what there is now.
        [plan_id] The plan’s id has to be 1 to 32 small letters a–z, digits and _, beginning with a letter. Write it first and the title after it: <code>family Family</code>
        [plan_exists] There is a plan of this id already, perhaps off sale. Choose another id.
        [plans_full] There are 50 plans: more than a customer can choose from. Put an old one to use.
        [title] The title has to be 1 to 32 characters, to fit on a button. Write it again.
        [last_title] This is the plan’s only title. Write another one first.
        [description] The description has to be 1 to 300 characters. Write it again.
        [days] The period has to be a whole number of days, 1 to 3660. Write a number, like <code>90</code>
        [period_exists] The plan has a period of so many days. Open it, and put it on sale.
        [periods_full] A plan has at most 20 periods. Put an old one to use.
        [currency] This currency is not known here.
        [no_shop_price] The period needs a price in the shop’s currency before it can be on sale. Set that price.
        [shop_price_needed] A period that is on sale needs its price in the shop’s currency. Take it off sale first, or change the price.
       *[amount] The price has to be an amount above 0 with no more decimal places than its currency has. Write it like <code>249.00</code>
    }
catalogue-plans = 📦 <b>Plans</b>, in the order in which customers see them
catalogue-plans-none = There are none yet.
catalogue-plan-line = { $state ->
        [on] 🟢
       *[off] ⚪️
    } <b>{ $title }</b> <code>{ $id }</code> · { $count } on sale
button-plan-edit = { $title }
button-plan-new = ➕ New plan
catalogue-plan =
    📦 <b>{ $title }</b> <code>{ $id }</code>
    { $state ->
        [on] 🟢 on sale
       *[off] ⚪️ off sale
    } · { $edited ->
        [yes] edited here: plans.toml leaves it alone
       *[no] as plans.toml has it
    }
catalogue-said = <i>{ $text }</i>
catalogue-period-line = { $state ->
        [on] 🟢
       *[off] ⚪️
    } { $period }: { $prices }
catalogue-no-period = There is no period yet: add one, with a price.
button-period-edit = ⏱ { $period }
button-period-new = ➕ Period
button-plan-words = 🔤 Title, description
button-move-up = ⬆️ Earlier
button-move-down = ⬇️ Later
button-off-sale = ⚪️ Take off sale
button-on-sale = 🟢 Put on sale
button-history-of = 📜 History
button-give-back = ↩️ As plans.toml has it
catalogue-plan-ask =
    Write the new plan’s <b>id</b> and its <b>title</b> in your language ({ $language }), like this: <code>family Family</code>

    The id is for you and for links; it never changes. The plan is off sale until you put it on.
catalogue-plan-made = ✅ Made. It is off sale: add a period, set its price, then put both on sale.
catalogue-words = 🔤 Titles and descriptions of <code>{ $id }</code>
catalogue-words-line = <b>{ $language }</b>: { $title }
    <i>{ $text }</i>
button-title-in = ✏️ Title · { $language }
button-description-in = ✏️ Text · { $language }
catalogue-title-ask = Write the title of <b>{ $title }</b> in <b>{ $language }</b>, at most 32 characters. <code>-</code> takes it away: another language’s is shown then.
catalogue-description-ask = Write what customers read about <b>{ $title }</b> in <b>{ $language }</b>, at most 300 characters. <code>-</code> takes it away.
catalogue-off-confirm =
    <b>Take “{ $title }” off sale?</b>

    Nobody can choose it any more. Who has it keeps it to the end; what is being paid at this moment is honoured. Renewals from the balance find it off sale and tell the customer.
catalogue-moved = ✅ Place { $place } now. The order of plans is the shop’s from here on, and plans.toml leaves it alone.
catalogue-back-confirm =
    <b>Let plans.toml say again what “{ $title }” is?</b>

    At the next start or reload everything that was edited here is lost: titles, periods and prices come from the file. If <code>{ $id }</code> is not in it, the plan goes off sale.
catalogue-history = 📜 <b>History of</b> <code>{ $id }</code>
catalogue-history-none = Nothing was changed here yet.
catalogue-period-ask = For how many days is the new period of <b>{ $title }</b>? Write a number, like <code>90</code>
catalogue-period-made = ✅ Made. Set its price, then put it on sale.
catalogue-period =
    ⏱ <b>{ $title }</b> · { $period }
    { $state ->
        [on] 🟢 on sale
       *[off] ⚪️ off sale
    }{ $whole ->
        [yes] { "" }
       *[no] { " " }(the whole plan is off sale)
    }

    Prices: <b>{ $prices }</b>
button-price-edit = ✏️ { $price }
button-price-drop = ✖️ { $currency }
button-price-first = ➕ Price in { $currency }
button-price-new = ➕ Another currency
catalogue-price-ask = Write the new price of <b>{ $title }</b>, { $period }, in <b>{ $currency }</b>, like <code>249.00</code>. XTR are Telegram Stars, which are whole.
catalogue-price-new-ask = Write a currency and the price of <b>{ $title }</b>, { $period }, in it: <code>USD 2.99</code>. <code>XTR 150</code> is a price in Telegram Stars; { $currency } is the shop’s own currency.
catalogue-price-confirm =
    <b>{ $title }</b>, { $period }: <b>{ $old } → { $new }</b>

    It counts from now on. What was bought, and what is being paid at this moment, keeps the old price; so do monthly subscriptions in Stars. Renewals from the balance take the new one.
catalogue-drop-confirm =
    <b>Sell “{ $title }”, { $period }, in { $currency } no longer?</b>

    Ways to pay that ask for { $currency } are not offered for it any more. What is being paid at this moment is honoured.
catalogue-number-unreadable = ⚠️ That is no whole number of a fitting size. Write digits alone, like <code>30</code>

promos = 🎟 <b>Promo codes</b>
promos-none = There are none yet.
promo-line = { $state ->
        [on] 🟢
       *[off] ⚪️
    } <code>{ $code }</code> { $gives }, used { $used }{ $capped ->
        [yes] /{ $most }
       *[no] { "" }
    }{ $ends ->
        [yes] , until { $until }
       *[no] { "" }
    }
promo-gives = { $kind ->
        [percent] −{ $value }{"\u00A0"}%
        [days] +{ $value } days
       *[money] +{ $value }
    }
button-promo-one = { $code }
button-promo-new = ➕ New code
promo-one =
    🎟 <code>{ $code }</code> · { $state ->
        [on] 🟢 can be entered
       *[off] ⚪️ off
    }

    Gives: <b>{ $gives }</b>
    Until: { $ends ->
        [yes] { $until }
       *[no] no end
    }
    Used: { $used } { $capped ->
        [yes] of { $most }
       *[no] (any number)
    }
    By one customer: { $each }
button-limit = { $limit ->
        [days] ⏳ Until
        [uses] 🔢 Uses
       *[each] 👤 Each
    }
button-promo-off = ⚪️ Switch off
button-promo-on = 🟢 Switch on
promo-kinds = What shall the new code give?
button-promo-kind = { $kind ->
        [percent] 🏷 Percent off a purchase
        [days] 📅 Days on top
       *[money] 💰 Money for the balance
    }
promo-ask =
    Write the <b>code</b> and <b>what it gives</b>, like this: { $kind ->
        [percent] <code>SPRING 25</code> for 25 % off (1 to 99)
        [days] <code>SPRING 7</code> for 7 days on top (1 to 3660)
       *[money] <code>SPRING 100.00</code> for 100 { $currency } on the balance
    }

    A code is 3 to 32 letters A–Z, digits, - and _. It is made switched off, so that you can set its limits first.
promo-unreadable = ⚠️ A code and what it gives were not found in that. Keep to the example, with a blank between the two.
promo-exists = ⚠️ The code { $code } is on already. Switch that one off first, or choose another name.
promo-exists-on = ⚠️ Another code of this name is on. Switch that one off first.
promo-made = ✅ Made, and still off. Set its limits, then switch it on.
promo-limit-ask = { $limit ->
        [days] For how many days from now can <code>{ $code }</code> be entered? <code>0</code>: for good.
        [uses] How often can <code>{ $code }</code> be used by all customers together? <code>0</code>: any number of times.
       *[each] How often can one customer use <code>{ $code }</code>? At least <code>1</code>.
    }
promo-off-confirm =
    <b>Switch { $code } off?</b>

    Nobody can enter it any more. Purchases that were opened with it keep their price. It can be switched on again.

discounts = 🎁 <b>Personal discounts</b>
    The larger of it and a promo code counts.
discounts-none = Nobody has one.
discount-line = { $state ->
        [over] ⚪️
       *[on] 🟢
    } { $name } <code>{ $id }</code>: −{ $percent }{"\u00A0"}%, { $ends ->
        [yes] until { $until }
       *[no] for good
    }
button-discount-one = { $name } · −{ $percent }{"\u00A0"}%
button-discount-new = ➕ Give a discount
discount-ask =
    Write whom, how many <b>percent</b>, and for how many <b>days</b> if not for good: <code>@anna 15 30</code> or <code>123456789 15</code>

    The customer is named by the @name or the Telegram id, and has to have written to the bot.
discount-unreadable = ⚠️ Customer, percent (1 to 99) and days (1 to 36500) were not found in that. Keep to the example.
discount-unknown = ⚠️ Nobody of that name or id has written to this bot. Check the spelling, or write the Telegram id.
discount-confirm =
    <b>−{ $percent }{"\u00A0"}% for { $name }</b> <code>{ $id }</code>, { $for_good ->
        [yes] for good
       *[no] for { $days ->
            [one] { $days } day
           *[other] { $days } days
        }
    }?

    It counts for every purchase from now on, in place of a discount that this customer has. Monthly subscriptions in Stars keep their price.
discount-off-confirm =
    <b>{ $name }</b> <code>{ $id }</code>: −{ $percent }{"\u00A0"}%, { $ends ->
        [yes] until { $until }
       *[no] for good
    }.

    <b>Take the discount away?</b> What is being paid at this moment keeps its price.

texts = ✍️ <b>Texts of the bot</b>
    In which language?
button-texts-in = { $language }
texts-written = ✍️ <b>Texts in “{ $language }”</b> that were written here
texts-search = 🔎 Write a part of a text, or of its name, to find it.
texts-found = 🔎 <b>Found</b>
texts-not-found = 🔎 Nothing like that was found. Write another part of the text.
text-line = • <code>{ $key }</code>: { $text }
text-one =
    ✍️ <code>{ $key }</code> · { $language }
    { $origin ->
        [bot] Written here by { $by }, { $at }
        [folder] From your folder of texts
       *[package] The bot’s own
    }
    Values: { $values }
text-replaces = In place of:
button-text-write = ✏️ Write it anew
button-text-reset = ↩️ As it was before
text-ask =
    Write the text <code>{ $key }</code> in <b>{ $language }</b>, with Telegram’s HTML if you like.

    Values it may use: { $values }. It is checked before it counts.
text-refused = ⚠️ <b>This cannot be said like that</b>
text-fault = • It { $fault }
text-reset-confirm =
    <b>Say <code>{ $key }</code> as before?</b>

    What was written here is lost. It will be:

ways = 💳 <b>Ways to pay</b>
    What is switched off is not offered; what was opened can still be paid by it, and renewals go on.
way-line = { $state ->
        [on] 🟢
       *[off] ⚪️
    } { $method ->
        [stars] Telegram Stars
        [yookassa] Card or SBP (YooKassa)
        [cryptopay] Crypto (Crypto Pay)
        [balance] Balance
       *[other] { $method }
    }
button-way = { $state ->
        [on] ⚪️ Switch off:
       *[off] 🟢 Offer:
    } { $method ->
        [stars] Telegram Stars
        [yookassa] card or SBP
        [cryptopay] crypto
        [balance] balance
       *[other] { $method }
    }
way-off-confirm =
    <b>Offer this way to pay no longer: { $method ->
        [stars] Telegram Stars
        [yookassa] card or SBP
        [cryptopay] crypto
        [balance] balance
       *[other] { $method }
    }?</b>

    Customers do not see it any more. What was opened can still be paid by it.{ $last ->
        [yes] { " " }<b>It is the last one: nobody can buy anything then.</b>
       *[no] { "" }
    }

## The customers' desk

button-find = 🔎 Find a customer
button-card = 👤 Card
button-letters = 📭 Dead letters
find-ask =
    🔎 <b>Who is it?</b>

    Write a Telegram id, a @name or the beginning of a name, a referral code, a subscription link, a vless link, the number of a purchase, an invoice or a charge, or a credential’s uuid.
find-nobody = Nobody was found by that. Check the spelling, or try something else of his.
find-several = 🔎 <b>Several may be meant</b>
find-line = • { $name } { $id }
button-hit = { $state ->
        [blocked] 🚫 { $name }
        [erased] 🗑 { $name }
       *[usual] 👤 { $name }
    }
card = 👤 <b>{ $name }</b> { $id } · customer:{ $number }
card-since = Since { $since } UTC · language: { $language } · { $reach ->
        [yes] can be reached
        [no] cannot be reached: has blocked the bot
       *[erased] cannot be reached until writing again
    }
card-role = 🛠 Runs the shop: { $role ->
        [owner] owner
        [manager] manager
        [support] support
       *[reader] read-only
    }
card-blocked = 🚫 <b>Blocked</b> since { $since } UTC: access is off, payments count
card-erased = 🗑 Had the data deleted on { $since } UTC. Kept are the Telegram id, payments, the balance, who invited whom, and that there was a trial.
card-trial = 🎁 Trial until { $until } UTC{ $over ->
        [yes] , over
       *[no] , running
    }
card-referrer = Invited by { $name } { $id }
card-guests = Code { $code } · guests: { $guests }, paying: { $paying }
card-balance = 💰 Balance <b>{ $total }</b>, of that a gift: { $bonus }
card-owed = Owes the shop { $amount }
card-discount = Discount { $percent }{"\u00A0"}%, { $ends ->
        [yes] until { $until }
       *[no] for good
    }
card-no-subscriptions = No subscription yet
card-subscription = { $state ->
        [on] 🟢
        [held] 🚫
       *[off] ⚪️
    } <b>{ $title }</b> until { $until } UTC{ $trial ->
        [yes] , trial
       *[no] { "" }
    } · renews: { $renews ->
        [balance] from the balance
        [stars] by Telegram, in Stars
       *[off] no
    } · nodes that know: { $acknowledged } of { $nodes }
card-payments = Paid purchases: { $count }
card-payment = • { $at } · { $amount } · { $provider } · { $kind ->
        [access] access
        [topup] top-up
       *[other] nothing of ours
    } · given back: { $back }
button-give-days = 📅 Days
button-give-money = 💰 Balance
button-other-plan = 🔄 Plan
button-reissue = 🔗 New link
button-refund-some = ↩️ Refund
button-write-to = ✍️ Write
button-block = 🚫 Block
button-unblock = ✅ Unblock
button-timeline = 🕰 What happened
payments-which = ↩️ <b>Which payment goes back?</b>
payments-none = Nothing is left here that could go back.
button-payment = { $at } · { $amount }
timeline = 🕰 <b>What happened</b> (UTC)
timeline-empty = Nothing beyond this.
timeline-line = <b>{ $at }</b> { $what }
event-joined = 👋 wrote for the first time{ $invited ->
        [yes] , invited by somebody
       *[no] { "" }
    }
event-payment = 💳 { $amount } by { $provider } for { $what ->
        [access] access
        [topup] the balance
       *[other] nothing of ours
    }{ $origin ->
        [renewal] , renewed by itself
        [recurring] , charged by Telegram
       *[other] { "" }
    }: { $outcome ->
        [settled] settled
        [second_charge] a second charge
        [underpaid] too little
       *[held] held
    } ({ $purchase })
event-grant = ✅ { $days } d of { $plan }, until { $until }: { $why ->
        [purchase] bought
        [promo] promo code
        [gift] a gift
       *[trial] trial
    }
event-ended = ⌛️ { $plan } ended
event-refund = ↩️ { $amount } { $route ->
        [provider] to the payer
       *[balance] to the balance
    }: { $status ->
        [requested] asked for
        [done] done
        [to_balance] went to the balance
       *[stuck] stuck
    } ({ $by })
event-plan = 🔄 plan { $from } → { $to }
event-link = 🔗 new link for { $plan }
event-reward = 🤝 { $amount } for a guest
event-message = ✉️ { $template }: { $status ->
        [done] sent
        [dropped] dropped
       *[dead] failed
    }
event-deed = 🛠 { $actor }: { $action } — { $reason }
event-erased = 🗑 had the data deleted
deed-which = Which subscription of <b>{ $name }</b>?
button-one-of = { $title } · { $until }
deed-new-plan = <b>{ $name }</b> has no subscription yet. Days of which plan?
deed-other-plan = Which plan is it to be for <b>{ $name }</b>? What is left becomes time of the new plan, worth the same.
deed-ask-days =
    📅 How many days for <b>{ $name }</b>?

    Press a number or write one; with a minus they are taken: <code>-7</code>.
deed-days-wrong = That is no number of days. From 1 to 3660, like <code>30</code> or <code>-7</code>.
button-days = { $days } d
deed-ask-money =
    💰 The balance of <b>{ $name }</b> holds <b>{ $total }</b>.

    Write how much to give, in { $currency }; with a minus it is taken: <code>-100</code>.
deed-money-wrong = That is no amount. Write it like <code>250</code> or <code>-99.50</code>.
deed-ask-text =
    ✍️ Write the message for <b>{ $name }</b>, up to 3000 letters. It is sent as you write it, with the shop’s name and not with yours.
deed-ask-reason =
    { $kind ->
        [days] 📅 Days for <b>{ $name }</b>
        [take-days] 📅 Days taken from <b>{ $name }</b>
        [money] 💰 Money for <b>{ $name }</b>
        [take-money] 💰 Money taken from <b>{ $name }</b>
        [plan] 🔄 Another plan for <b>{ $name }</b>
        [link] 🔗 A new link for <b>{ $name }</b>
        [block] 🚫 A block for <b>{ $name }</b>
        [unblock] ✅ The end of the block for <b>{ $name }</b>
       *[message] ✍️ A message to <b>{ $name }</b>
    }

    And why? Write the reason in a few words: it is kept in the audit log.
deed-confirm =
    { $kind ->
        [days] Give days to <b>{ $name }</b>?
        [take-days] Take days from <b>{ $name }</b>?
        [money] Give money to <b>{ $name }</b>?
        [take-money] Take money from <b>{ $name }</b>?
        [plan] Change the plan of <b>{ $name }</b>?
        [link] Make the link of <b>{ $name }</b> anew?
        [block] Block <b>{ $name }</b>?
        [unblock] Unblock <b>{ $name }</b>?
       *[message] Send this to <b>{ $name }</b>?
    }
deed-reason = Why: { $reason }
deed-access =
    Before: { $had ->
        [yes] { $plan } until { $before } UTC
       *[no] no subscription
    }
    After: <b>{ $into }</b> until <b>{ $after }</b> UTC, access is { $state ->
        [active] on
       *[expired] off
    }
deed-balance =
    Before: { $before }
    After: <b>{ $after }</b>
deed-link = The old link of { $into } stops working at once, also where it is in use; the new one waits in “My subscription”.
deed-block =
    { $count ->
        [0] There is no access to switch off.
        [one] { $count } subscription is switched off on all nodes at once.
       *[other] { $count } subscriptions are switched off on all nodes at once.
    } { $stars ->
        [0] { "" }
       *[other] Telegram is asked to charge no more.
    }
    The bot says no more than that access is closed. The time runs on; whatever is paid still counts.
deed-unblock =
    { $count ->
        [0] No subscription has time left.
        [one] { $count } subscription is on again for the time that it has left.
       *[other] { $count } subscriptions are on again for the time that they have left.
    }
button-deed-yes = { $kind ->
        [days] ✅ Yes, give them
        [take-days] ✅ Yes, take them
        [money] ✅ Yes, give it
        [take-money] ✅ Yes, take it
        [plan] ✅ Yes, change it
        [link] ✅ Yes, make a new link
        [block] 🚫 Yes, block
        [unblock] ✅ Yes, unblock
       *[message] ✉️ Yes, send it
    }
deed-done = { $kind ->
        [days] ✅ The days were given.
        [take-days] ✅ The days were taken.
        [money] ✅ The money was given.
        [take-money] ✅ The money was taken.
        [plan] ✅ The plan was changed.
        [link] ✅ The link was made anew.
        [block] 🚫 Blocked.
        [unblock] ✅ Unblocked.
       *[message] ✅ The message is on its way.
    }
deed-refused = 🚫 { $why ->
        [no_customer] There is no such customer. Look for the person again.
        [no_subscription] This subscription is not this customer’s. Open the card again.
        [no_plan] There is no such plan. Choose another one.
        [own_days] Nobody but an owner gives days to himself. Ask another operator.
        [own_money] Nobody gives money to himself. Another operator does it, or an owner at the shell.
        [own_refund] Nobody but an owner gives his own payment back. Ask another operator.
        [operator] Whoever runs the shop cannot be blocked. Take the role away first.
        [blocked] This customer is blocked. Unblock first.
        [as_it_was] It is so already: nothing was changed.
        [too_little] The balance holds less than that. Take at most what the card shows.
        [too_much] That is more than can be given or taken at once.
        [nothing_left] Nothing of this subscription is left to be taken.
        [plan_impossible] The plan cannot be changed: nothing is left of it, it is a trial, Telegram renews it, or one of the plans has no price. Give days of the other plan instead.
        [link_off] The subscription is off. Give days or unblock first.
        [link_too_soon] The link was made anew a moment ago. Wait ten minutes.
        [unreachable] Nothing arrives: the bot was blocked there, or the data was deleted. It can be written once the customer writes.
       *[no_words] A message has from 1 to 3000 letters.
    }
deed-gone = This question is too old, or was another operator’s. Open the card and begin again.
letters = 📭 <b>Could not be sent</b>
letters-none =
    📭 <b>Could not be sent</b>

    Nothing: all that was to be sent has left, or waits for its turn.
letter-line =
    • <b>{ $kind }</b> <code>{ $key }</code>
    { $at }, tries: { $failures }
    { $error }
letter-silent = no reason was given
letter = 📭 <b>It was given up</b>
button-letter-again = 🔁 Try again
button-letter-drop = 🗑 Drop it
button-letter-drop-yes = 🗑 Yes, drop it
letter-drop = Drop it for good? Whoever it was for will not get it.
letter-gone = Somebody has seen to it already.
letter-tried = 🔁 It is tried again, with all its attempts.
letter-dropped = 🗑 It was dropped.

## What a customer hears of an operator

gift-days = 🎁 <b>{ $period } as a gift</b> from us. Your subscription runs until <b>{ $until }</b>.
gift-money = 🎁 We have put <b>{ $amount }</b> on your balance. Spend it on whatever you like here.
link-renewed = 🔗 We have made you a new link. The old one does not work any more: open your subscription and add the new one to your app.
unblocked = { $back ->
        [yes] ✅ Your access is open again, for the time that you have left. Welcome back!
       *[no] ✅ You can use this bot again. Welcome back!
    }
operator-message = ✉️ <b>A message from us</b>
blocked = Your access is closed.
blocked-support = Your access is closed. If you think that is a mistake, write to { $support }.
paid-while-blocked = We have received <b>{ $amount }</b>: nothing is lost, the time until <b>{ $until }</b> is noted for you.

## Broadcasts

button-broadcasts = 📣 Broadcasts
broadcasts =
    📣 <b>Broadcasts</b>

    One message for many: each gets it once, behind replies and receipts, at the pace Telegram permits.
broadcasts-none =
    📣 <b>Broadcasts</b>

    There is none yet. A draft goes to nobody until you confirm.
button-broadcast-new = ➕ New broadcast
button-broadcast = { $state ->
        [draft] ✏️
        [scheduled] 🕒
        [running] ▶️
        [paused] ⏸
        [stopped] ⏹
        [missed] ⚠️
       *[done] ✅
    } { $id } · { $title }
broadcast-gone = This broadcast is not there any more.
broadcast-not-now = ⚠️ That cannot be done: the broadcast is { $state ->
        [draft] a draft
        [scheduled] scheduled
        [running] running
        [paused] paused
        [stopped] stopped
        [missed] missed
        [done] done
       *[discarded] thrown away
    }.
broadcast-untitled = (no words yet)
broadcast-head = 📣 <b>Broadcast { $id }</b> · { $state ->
        [draft] ✏️ draft
        [scheduled] 🕒 scheduled
        [running] ▶️ running
        [paused] ⏸ paused
        [stopped] ⏹ stopped
        [missed] ⚠️ its time was missed
       *[done] ✅ done
    }
    { $title }
broadcast-halted =
    ⚠️ It has paused by itself, since recipient after recipient refused it: { $why }

    Resume it when that is mended, or stop it.
broadcast-message = { $variant ->
        [a] <b>Variant A:</b>
        [b] <b>Variant B:</b>
       *[none] <b>Message:</b>
    } { $what }
broadcast-copied = a message that is copied
broadcast-texts = text in { $languages }
broadcast-notice = a notice of the service
broadcast-nothing = none yet
broadcast-buttons = , { $count ->
        [one] { $count } button
       *[other] { $count } buttons
    }
broadcast-share = Shares: A { $a }{"\u00A0"}%, B { $b }{"\u00A0"}%. Who gets which stays the same.
broadcast-segment = <b>For:</b>
    { $lines }
broadcast-time = { $state ->
        [missed] ⚠️ It was to begin on { $at } and nobody was there to begin it.
       *[scheduled] 🕒 Begins on { $at }. { $missed ->
            [skip] If that is missed by more than five minutes, it is not sent.
           *[send] If that is missed, it is sent once as soon as possible.
        }
    }
broadcast-figures = Sent: <b>{ $sent }</b> of { $of } · cannot be reached: { $unreachable } · failed: { $failed }
broadcast-repeated = Perhaps twice: { $count }
broadcast-left = Waiting: { $count } · about { $time } left
broadcast-left-unknown = Waiting: { $count }
broadcast-variant = { $name }: sent { $sent } of { $of } · cannot be reached: { $unreachable } · failed: { $failed }
button-broadcast-message = { $variant ->
        [b] 💬 Message B
       *[a] 💬 Message
    }
button-broadcast-buttons = { $variant ->
        [b] 🔗 Buttons B
       *[a] 🔗 Buttons
    }
button-broadcast-add-b = ➕ Variant B
button-broadcast-drop-b = ✖️ No variant B
button-broadcast-share = B { $percent }{"\u00A0"}%
button-broadcast-segment = 🎯 For whom
button-broadcast-preview = 👁 Preview
button-broadcast-schedule = 🕒 Schedule
button-broadcast-unschedule = ✏️ Back to a draft
button-broadcast-missed = { $choice ->
        [skip] If the time is missed: not sent
       *[send] If the time is missed: sent late
    }
button-broadcast-send = 📨 Send
button-broadcast-pause = ⏸ Pause
button-broadcast-resume = ▶️ Resume
button-broadcast-refresh = 🔄 Refresh
button-broadcast-end = { $state ->
        [draft] 🗑 Throw away
        [scheduled] 🗑 Throw away
       *[running] ⏹ Stop
    }
button-broadcast-again = 🔁 Use again
broadcast-compose = { $variant ->
        [a] 💬 <b>Message of variant A</b>
        [b] 💬 <b>Message of variant B</b>
       *[none] 💬 <b>Message</b>
    }

    Send it to me now, whatever it is: a text with formatting, a picture, a video, a voice message. Everybody gets a copy of it, so do not delete it before the end.

    Or write a text for each language; whoever speaks another gets the first of the shop’s.
broadcast-problem = ⚠️ { $problem ->
        [album] An album is several messages, and Telegram copies them without buttons. Send one picture or one video.
        [invoice] Telegram does not copy invoices.
        [paid] Telegram does not copy paid media.
        [quiz] Telegram does not copy this quiz, or a poll of somebody else.
       *[no-text] That is no text. Please write it as a message.
    }
button-broadcast-text = { $done ->
        [yes] ✅
       *[no] ✍️
    } Text: { $language }
broadcast-ask-text = Write the text for <b>{ $language }</b>, with formatting if you like.
broadcast-ask-buttons =
    🔗 <b>Buttons</b>

    Write one line for each: <code>label - https://…</code>
    Two in one row stand between <code>|</code>. A single dash <code>-</code> takes all away.
broadcast-buttons-now = Now:
    { $lines }
broadcast-buttons-fault = ⚠️ Line { $line }: { $fault ->
        [form] a button is written as <code>label - https://…</code>.
        [label] a label has 1 to 64 letters.
        [address] an address begins with https:// and has no spaces.
        [row] at most three buttons stand in one row.
       *[many] there are at most twelve buttons.
    }
broadcast-nobody = Nobody is meant by these conditions, so there is nobody to send to.
broadcast-confirm =
    📨 <b>Send broadcast { $id }?</b>

    It reaches <b>{ $count ->
        [one] { $count } customer
       *[other] { $count } customers
    }</b> and takes about { $time }.
button-broadcast-yes = ✅ Yes, send to { $count }
broadcast-ask-time =
    🕒 <b>When is it to begin?</b>

    Write a day and a time, for example { $example }. Your clock shows { $clock } ({ $zone }); another one is chosen in /notifications.
broadcast-time-problem = ⚠️ { $problem ->
        [past] That is over already.
        [far] That is more than a year away.
       *[form] That is no day and time.
    }
broadcast-confirm-time =
    🕒 <b>Send broadcast { $id } on { $at }?</b>

    As things are it reaches <b>{ $count ->
        [one] { $count } customer
       *[other] { $count } customers
    }</b> and takes about { $time }; who is meant is looked up when it begins. { $missed ->
        [skip] If the time is missed by more than five minutes, it is not sent.
       *[send] If the time is missed, it is sent once as soon as possible.
    }
button-broadcast-schedule-yes = ✅ Yes, then
broadcast-confirm-end = { $state ->
        [draft] 🗑 <b>Throw draft { $id } away?</b>
        [scheduled] 🗑 <b>Throw broadcast { $id } away?</b> It will not be sent.
       *[running] ⏹ <b>Stop broadcast { $id } for good?</b>

            { $sent } have it. { $left } more do not get it, also not later. A pause can be ended, a stop cannot.
    }
button-broadcast-end-yes = { $state ->
        [draft] 🗑 Yes, throw it away
        [scheduled] 🗑 Yes, throw it away
       *[running] ⏹ Yes, stop it
    }
broadcast-preview-problem = ⚠️ Telegram would not send it: { $why }
segment =
    🎯 <b>For whom</b>

    All of this has to be true of a customer who can be reached:
segment-all = • everybody
segment-access = • { $value ->
        [yes] has access now
       *[no] has no access now
    }
segment-trial = • { $value ->
        [yes] is trying now
       *[no] is not trying now
    }
segment-bought = • { $value ->
        [yes] has bought before
       *[no] has never bought
    }
segment-came = • { $value ->
        [yes] came by somebody’s link
       *[no] came by himself
    }
segment-brought = • { $value ->
        [yes] has brought somebody
       *[no] has brought nobody
    }
segment-expired = • { $count ->
        [one] without access for { $count } day or longer
       *[other] without access for { $count } days or longer
    }
segment-idle = • { $count ->
        [one] not seen for { $count } day or longer
       *[other] not seen for { $count } days or longer
    }
segment-language = • speaks { $names }
segment-plan = • has the plan { $names }
segment-nothing = (none is chosen yet)
segment-balance = • has { $than ->
        [over] more
       *[under] less
    } than { $amount } on the balance
segment-counted = 👥 <b>{ $count ->
        [one] { $count } customer
       *[other] { $count } customers
    }</b>, about { $time } to send to all.
segment-part = 🎯 <b>{ $part ->
        [access] Access
        [trial] Trial
        [bought] Purchases
        [expired] Ended
        [idle] Not seen for
        [language] Language
        [plan] Plan
        [balance] Balance
        [came] Came by a link
       *[brought] Brought others
    }</b>
button-segment-part = { $part ->
        [access] 🔑 Access
        [trial] 🎁 Trial
        [bought] 🛒 Purchases
        [expired] ⌛ Ended
        [idle] 💤 Not seen for
        [language] 🌐 Language
        [plan] 📦 Plan
        [balance] 💰 Balance
        [came] 🔗 Came by a link
       *[brought] 🤝 Brought others
    }
button-segment-choice = { $part ->
        [access] { $value ->
            [yes] Has access now
           *[no] Has none now
        }
        [trial] { $value ->
            [yes] Is trying now
           *[no] Is not trying now
        }
        [bought] { $value ->
            [yes] Has bought
           *[no] Has never bought
        }
        [came] { $value ->
            [yes] Came by a link
           *[no] Came by himself
        }
       *[brought] { $value ->
            [yes] Has brought somebody
           *[no] Has brought nobody
        }
    }
button-segment-days = { $part ->
        [expired] Ended
       *[idle] Not seen for
    } { $count ->
        [one] { $count } day
       *[other] { $count } days
    }
button-segment-balance = { $value ->
        [some] Has something
       *[none] Has nothing
    }
button-segment-toggle = { $on ->
        [yes] ✅
       *[no] ▫️
    } { $name }
button-segment-write = { $part ->
        [balance] ✍️ Another amount
       *[days] ✍️ Another number of days
    }
button-segment-any = ✖️ Does not matter
button-segment-count = 👥 Count
button-segment-export = 📄 Export as CSV
segment-write = { $part ->
        [balance] Write <code>&gt; 100</code> for more than 100 { $currency } on the balance, or <code>&lt; 50</code> for less than 50.
       *[days] Write a number of days, 1 or more.
    }
segment-write-problem = ⚠️ { $part ->
        [balance] Please begin with &gt; or &lt; and write an amount.
       *[days] Please write a whole number from 1 to 36 500.
    }
segment-exported = 📄 { $count ->
        [one] { $count } customer
       *[other] { $count } customers
    } of broadcast { $id }
segment-too-many = ⚠️ The file would be larger than Telegram takes: { $count } customers. Narrow the conditions, or use <code>vpnd export</code> on the server.

## Figures

button-figures = 📊 Figures
button-exports = 📤 Exports
figures-head = 📊 <b>{ $period ->
        [today] Today
        [yesterday] Yesterday
        [week] The last 7 days
       *[month] The last 30 days
    }</b> · { $days }
figures-compared = <i>{ $period ->
        [today] ▲▼ beside yesterday until the same hour.
        [yesterday] ▲▼ beside the day before.
        [week] ▲▼ beside the 7 days before.
       *[month] ▲▼ beside the 30 days before.
    }</i>
figures-change = { $way ->
        [up] { " " }▲ { $percent }{"\u00A0"}%
       *[down] { " " }▼ { $percent }{"\u00A0"}%
    }
figures-revenue = 💰 <b>{ $net }</b>{ $change }
    { $count ->
        [one] { $count } payment
       *[other] { $count } payments
    }: { $gross } came, { $back } went back
figures-no-revenue = 💰 No money moved.
figures-people =
    👥 New customers: <b>{ $new }</b>{ $newchange }
    🛒 Paid for the first time: <b>{ $paying }</b>{ $payingchange }
    🎁 Trials begun: <b>{ $trials }</b>
    🤝 Came by an invitation: <b>{ $guests }</b>
figures-methods = 💳 Revenue by method: what came from outside, less what went back.
figures-plans = 🏷 Sales by plan: access sold for whatever it was paid with, from the balance too.
figures-line = • <b>{ $name }</b>: { $net } · { $percent }{"\u00A0"}% · { $count }
figures-other = other
figures-percent = { $share }{"\u00A0"}%
figures-guests =
    🤝 Came by an invitation: <b>{ $guests }</b>{ $guestschange }
    🛒 Of all guests, paid for the first time: <b>{ $paying }</b>{ $payingchange }
figures-rewards = 🎁 Rewards: <b>{ $net }</b> ({ $count }; taken back: { $back })
figures-no-rewards = 🎁 No rewards were given.
figures-health = 🩺 <b>How the shop stands now</b>
figures-standing =
    ✅ Paying customers: <b>{ $paying }</b>
    🔓 With access, trials and gifts too: <b>{ $access }</b>
    📉 Churn in 30 days: { $before ->
        [0] nobody was paying then
       *[other] <b>{ $churn }</b> of { $before }
    }
    🔁 Stayed after their first 30 days: { $newcomers ->
        [0] there were no newcomers
       *[other] <b>{ $retention }</b> of { $newcomers }
    }
    🎁 Trials that became purchases: { $ended ->
        [0] none ended in 30 days
       *[other] <b>{ $trials }</b> ({ $converted } of { $ended } that ended in 30 days)
    }
figures-mrr = 📅 MRR: <b>{ $amount }</b>
figures-arpu = 👤 ARPU in 30 days: <b>{ $amount }</b>
figures-summary = { $kind ->
        [day] ☀️ <b>Yesterday</b>
       *[week] 🗓 <b>Last week</b>
    } · { $days }
figures-chart = { $what ->
        [revenue] 📊 Revenue by day: what came from outside, less what went back
        [people] 📈 New customers (blue) and first payments (orange) by day
        [methods] 💳 Revenue by method
       *[plans] 🏷 Sales by plan
    } · { $days }
figures-no-chart = The picture could not be drawn. Please try again in a minute.
figures-nothing-to-draw = There is nothing to draw yet.
button-figures-period = { $chosen ->
        [yes] { "✓ " }
       *[no] { "" }
    }{ $period ->
        [today] Today
        [yesterday] Yesterday
        [week] 7 days
       *[month] 30 days
    }
button-figures-methods = 💳 By method
button-figures-plans = 🏷 By plan
button-figures-referral = 🤝 Referral
button-figures-health = 🩺 How it stands
button-chart-revenue = 📊 Revenue chart
button-chart-people = 📈 Customers chart
button-chart-methods = 💳 Methods chart
button-chart-plans = 🏷 Plans chart

## Exports

exports =
    📤 <b>Exports</b>

    A table as a CSV file, as of the moment you ask. What do you need?
button-export = { $what ->
        [customers] 👥 Customers
        [subscriptions] 🔑 Subscriptions
        [payments] 💳 Payments
        [ledger] 📒 Ledger
        [audit] 📜 Audit log
       *[plans] 🏷 Plans
    }
export-confirm =
    📤 <b>{ $what ->
        [customers] Customers
        [subscriptions] Subscriptions
        [payments] Payments
        [ledger] Ledger
        [audit] Audit log
       *[plans] Plans
    }</b>

    { $what ->
        [customers] Everybody’s Telegram id, name, language, host and balance.
        [subscriptions] Whose it is, its plan, whether it is on and until when.
        [payments] Every charge: by whom, how much, for what, and what went back.
        [ledger] Every transfer of the books.
        [audit] Who of the operators did what.
       *[plans] Plans, periods and prices.
    } { $secrets ->
        [yes] <b>With the keys and links of all subscriptions: whoever has this file can use them.</b>
       *[no] Keys and links are left out.
    }

    The file comes into this chat. Your name will stand in the audit log.
button-export-yes = ✅ Send me the file
button-export-secrets = 🔐 With keys and links
export-asked = ⏳ { $what ->
        [customers] Customers
        [subscriptions] Subscriptions
        [payments] Payments
        [ledger] The ledger
        [audit] The audit log
       *[plans] Plans
    }: the file is being made and comes into this chat. A large shop takes some minutes.
export-file = 📤 { $what ->
        [customers] Customers
        [subscriptions] Subscriptions
        [payments] Payments
        [ledger] Ledger
        [audit] Audit log
       *[plans] Plans
    }, as of { $moment } UTC: { $count ->
        [one] { $count } row
       *[other] { $count } rows
    }.{ $secrets ->
        [yes] { " " }⚠️ With keys and links: keep it safe.
       *[no] { "" }
    }
export-failed =
    📤 { $what ->
        [customers] Customers
        [subscriptions] Subscriptions
        [payments] Payments
        [ledger] The ledger
        [audit] The audit log
       *[plans] Plans
    }: the file could not be written on the server. The journal says why; after that is mended, please ask again.
export-too-big =
    📤 { $what ->
        [customers] Customers
        [subscriptions] Subscriptions
        [payments] Payments
        [ledger] The ledger
        [audit] The audit log
       *[plans] Plans
    }: the file is larger than a bot may send. On the server, this writes it:

    <code>{ $command }</code>
export-in-vain =
    📤 { $what ->
        [customers] Customers
        [subscriptions] Subscriptions
        [payments] Payments
        [ledger] The ledger
        [audit] The audit log
       *[plans] Plans
    }: I’m sorry, your file did not get through. I tried { $count ->
        [one] { $count } time
       *[other] { $count } times
    } and have stopped.

    Please ask for it again in a few minutes. If it does not come then either, the journal on the server says why, and this writes the file there:

    <code>{ $command }</code>

## Alerts, for those who run the shop

button-alerts = 🔔 Alerts
alerts = 🔔 <b>Alerts</b>
alerts-none = Nothing is open.
alerts-muted = 🔕 <b>Muted</b>
alert-head = { $state ->
        [critical] 🔴 Critical
        [warning] 🟠 Warning
        [info] 🔵 For your information
       *[over] ✅ Over
    } · { $state ->
        [over] it began { $at }
       *[other] since { $at }
    }
alert-times = 🔁 { $count } times, the last at { $at }
alert-seen = 👀 Seen by { $by }, { $at }
alert-closed = ✅ Done, says { $by }, { $at }
alert-muted = 🔕 Muted by { $by } { $ends ->
        [yes] until { $until }
       *[no] until somebody ends it
    }
alert-line = { $state ->
        [critical] 🔴
        [warning] 🟠
        [info] 🔵
       *[over] ✅
    } { $name }{ $about ->
        [yes] { " " }· { $subject }
       *[no] { "" }
    }{ $again ->
        [yes] { " " }· ×{ $times }
       *[no] { "" }
    } · { $at }{ $seen ->
        [yes] { " " }· 👀 { $by }
       *[no] { "" }
    }
alert-mute-line = • { $name }, by { $by }, { $ends ->
        [yes] until { $until }
       *[no] until somebody ends it
    }
alert-group-lost = ⚠️ The group cannot be written to{ $one ->
        [no] { "" }
       *[yes] { " " }(topic { $topic })
    }: { $reason }
alert-unknown = ℹ️ A newer version of the program told of { $kind }; its journal has the rest.
alert-group-moved = ℹ️ The group for alerts is a supergroup now. Alerts go there already; write { $new } in place of { $old } into [alerts] chat.
alert-kind = { $kind ->
        [held_charge] held payment
        [refund_refused] refund refused
        [books_wrong] books
        [reconciliation] provider’s list
        [node_stopped] node stopped
        [activation_late] late activation
       *[other] { $kind }
    }
button-alert-seen = 👀 I’ve seen it
button-alert-close = ✅ Done
button-alert-mute = { $hours ->
        [1] 🔕 1 h
        [8] 🔕 8 h
        [24] 🔕 1 d
       *[0] 🔕 ∞
    }
button-alert-resume = 🔔 Tell again
button-alert-resume-kind = 🔔 { $name }
button-alert-more = 🔔 More
button-alert-one = { $state ->
        [critical] 🔴
        [warning] 🟠
        [info] 🔵
       *[over] ✅
    } { $name }
alert-not-yours = This is for the shop’s operators.
alert-gone = This alert is not there any more.
alert-done = { $what ->
        [seen] Noted: you have seen it.
        [muted] Muted.
        [resumed] It is told again.
       *[closed] Noted: it is done.
    }
alerts-done = { $what ->
        [seen] ✅ Noted: you have seen it.
        [muted] 🔕 Muted.
        [resumed] 🔔 It is told again.
       *[closed] ✅ Noted: it is done.
    }
