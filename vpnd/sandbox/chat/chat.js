// The customer's chat: draws what the sandbox's Telegram server holds, and sends what a person would press.
const $ = (id) => document.getElementById(id);
const language = (navigator.language || "en").slice(0, 2);
const saved = JSON.parse(localStorage.getItem("vpnd-demo") || "{}");
const query = new URLSearchParams(location.search);
const customer = {
  id: Number(query.get("customer") || saved.id || 1000 + Math.floor(Math.random() * 8999)),
  name: query.get("name") || saved.name || "Alex",
  language: query.get("language") || saved.language || (["en", "ru"].includes(language) ? language : "en"),
};
let cursor = 0;
const shown = new Map(); // message_id → element

function remember() { localStorage.setItem("vpnd-demo", JSON.stringify(customer)); }
function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}
async function call(path, body) {
  const init = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const answer = await fetch(path, init);
  const data = await answer.json().catch(() => ({ error: `HTTP ${answer.status}` }));
  if (!answer.ok) throw new Error(data.error || `HTTP ${answer.status}`);
  return data;
}
function toast(text) {
  const node = $("toast");
  node.textContent = text;
  node.hidden = false;
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => { node.hidden = true; }, 3500);
}
const who = () => ({ customer: customer.id, name: customer.name, language: customer.language });

// ------------------------------------------------------------------ text with entities
const TAGS = { bold: "b", italic: "i", underline: "u", strikethrough: "s", code: "code", pre: "pre", blockquote: "blockquote", expandable_blockquote: "blockquote" };
function rich(text, entities) {
  // Offsets count UTF-16 code units, as JavaScript's strings do.
  const root = element("span", "text");
  const build = (from, to, list, parent) => {
    let at = from;
    while (list.length) {
      const entity = list.shift();
      const end = entity.offset + entity.length;
      if (entity.offset > at) parent.append(text.slice(at, entity.offset));
      const inner = [];
      while (list.length && list[0].offset < end) inner.push(list.shift());
      const node = wrap(entity, text.slice(entity.offset, end));
      build(entity.offset, end, inner, node);
      parent.append(node);
      at = end;
    }
    if (at < to) parent.append(text.slice(at, to));
  };
  const order = [...(entities || [])].sort((a, b) => a.offset - b.offset || b.length - a.length);
  build(0, text.length, order, root);
  return root;
}
function wrap(entity, content) {
  if (entity.type === "text_link" || entity.type === "url") {
    const node = element("a");
    node.href = entity.url || content;
    node.target = "_blank";
    node.rel = "noopener";
    return node;
  }
  if (entity.type === "bot_command") {
    const node = element("a");
    node.href = "#";
    node.addEventListener("click", (event) => { event.preventDefault(); send(content); });
    return node;
  }
  if (entity.type === "spoiler") {
    const node = element("span", "spoiler");
    node.addEventListener("click", () => node.classList.add("shown"));
    return node;
  }
  const node = element(TAGS[entity.type] || "span");
  if (entity.type === "code") {
    node.title = "Copy";
    node.addEventListener("click", () => { navigator.clipboard?.writeText(content); toast("Copied"); });
  }
  return node;
}

// ------------------------------------------------------------------ messages
const time = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
function price(invoice) {
  if (invoice.currency === "XTR") return `⭐ ${invoice.total_amount}`;
  return `${(invoice.total_amount / 100).toFixed(2)} ${invoice.currency}`;
}
function draw(message) {
  const mine = !message.from?.is_bot;
  if (message.successful_payment) {
    return element("div", "service", `You successfully transferred ${price(message.successful_payment)} to the bot`);
  }
  if (message.refunded_payment) {
    return element("div", "service", `The bot refunded ${price(message.refunded_payment)}`);
  }
  const node = element("div", `message ${mine ? "out" : "in"}`);
  const bubble = element("div", "bubble");
  if (message.photo?.length) {
    const image = element("img", "photo");
    const file = message.photo[message.photo.length - 1];
    image.src = `/api/file/${encodeURIComponent(file.file_id)}`;
    image.alt = "Picture";
    image.addEventListener("click", () => { $("picture-image").src = image.src; $("picture").showModal(); });
    bubble.append(image);
  }
  if (message.invoice) {
    const box = element("div", "invoice");
    box.append(element("h3", "", message.invoice.title), element("div", "", message.invoice.description), element("div", "price", price(message.invoice)));
    bubble.append(box);
  }
  const text = message.text ?? message.caption;
  if (text) bubble.append(rich(text, message.entities || message.caption_entities));
  const meta = element("span", "meta", time(message.date) + (mine ? " ✓✓" : ""));
  if (message.edit_date) meta.classList.add("edited");
  bubble.append(meta);
  node.append(bubble);
  let rows = message.reply_markup?.inline_keyboard || [];
  if (message.invoice && !rows.length) rows = [[{ text: `Pay ${price(message.invoice)}`, pay: true }]];
  if (rows.length) node.append(keyboard(message, rows));
  return node;
}
function keyboard(message, rows) {
  const box = element("div", "keyboard");
  for (const row of rows) {
    const line = element("div", "keys");
    for (const key of row) {
      const button = element("button", key.url ? "link" : "", key.text);
      button.addEventListener("click", () => press(message, key, button));
      line.append(button);
    }
    box.append(line);
  }
  return box;
}
async function press(message, key, button) {
  try {
    if (key.copy_text) {
      await navigator.clipboard?.writeText(key.copy_text.text);
      toast("Copied");
    } else if (key.url) {
      await openUrl(key.url);
    } else if (key.pay || (message.invoice && !key.callback_data)) {
      starsSheet(message.invoice, { message_id: message.message_id });
    } else {
      button.classList.add("busy");
      await call("/api/press", { ...who(), message_id: message.message_id, data: key.callback_data });
    }
  } catch (error) {
    toast(error.message);
  } finally {
    setTimeout(() => button.classList.remove("busy"), 900);
  }
}
async function openUrl(url) {
  if (url.startsWith("https://t.me/$")) {
    const { invoice } = await call(`/api/stars?link=${encodeURIComponent(url)}`);
    starsSheet(invoice, { link: url });
    return;
  }
  const { invoice } = await call(`/api/crypto?url=${encodeURIComponent(url)}`);
  if (invoice) { cryptoSheet(invoice); return; }
  const { payment } = await call(`/api/card?url=${encodeURIComponent(url)}`);
  if (payment) cardSheet(payment);
  else window.open(url, "_blank", "noopener");
}

// ------------------------------------------------------------------ pay sheets
function sheet({ title, icon, crypto, text, lines, pay, action }) {
  $("sheet-title").textContent = title;
  $("sheet-icon").textContent = icon;
  $("sheet-icon").classList.toggle("crypto", crypto);
  $("sheet-text").textContent = text;
  $("sheet-lines").replaceChildren(...lines.flatMap(([key, value]) => [element("dt", "", key), element("dd", "", value)]));
  $("sheet-error").hidden = true;
  const button = $("sheet-pay");
  button.textContent = pay;
  button.disabled = false;
  button.onclick = async () => {
    button.disabled = true;
    button.textContent = "Paying…";
    try {
      await action();
      $("sheet").close();
    } catch (error) {
      $("sheet-error").textContent = error.message;
      $("sheet-error").hidden = false;
      button.disabled = false;
      button.textContent = pay;
    }
  };
  $("sheet").showModal();
}
function starsSheet(invoice, paid) {
  const days = (invoice.subscription_period || 0) / 86400;
  sheet({
    title: days ? "Subscribe" : "Confirm your purchase", icon: "★", crypto: false, text: `Do you want to buy “${invoice.title}” in ${$("bot-name").textContent} for ${invoice.total_amount} Stars?`,
    lines: [["Your balance", "⭐ 10 000"], ["Price", price(invoice) + (days ? ` every ${days} days` : "")]], pay: `Confirm and pay ${price(invoice)}`,
    action: () => call("/api/pay-stars", { ...who(), ...paid }),
  });
}
function cryptoSheet(invoice) {
  if (invoice.status !== "active") { showAlert(`This invoice is ${invoice.status}.`); return; }
  sheet({
    title: "Crypto Pay", icon: "₮", crypto: true, text: invoice.description || "An invoice of the shop",
    lines: [["Invoice", `#${invoice.invoice_id}`], ["Amount", `${invoice.amount} ${invoice.fiat || invoice.asset}`], ["You pay with", invoice.asset || "USDT"]],
    pay: `Pay ${invoice.amount} ${invoice.fiat || invoice.asset}`,
    action: () => call("/api/pay-crypto", { ...who(), invoice_id: invoice.invoice_id }),
  });
}
function cardSheet(payment) {
  if (payment.status !== "pending") { showAlert(`This payment is ${payment.status}.`); return; }
  const amount = `${payment.amount.value} ${payment.amount.currency}`;
  sheet({
    title: "YooKassa", icon: "₽", crypto: false, text: payment.description || "A payment to the shop",
    lines: [["Payment", payment.id.slice(0, 8)], ["Amount", amount], ["You pay with", "Bank card *4444"]],
    pay: `Pay ${amount}`,
    action: () => call("/api/pay-card", { ...who(), payment_id: payment.id }),
  });
}
function showAlert(text) { $("alert-text").textContent = text; $("alert").showModal(); }

// ------------------------------------------------------------------ what comes from the server
function apply(update) {
  const box = $("messages");
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 160;
  for (const id of update.deleted || []) { shown.get(id)?.remove(); shown.delete(id); }
  for (const message of update.messages) {
    const node = draw(message);
    const old = shown.get(message.message_id);
    if (old) old.replaceWith(node); else box.append(node);
    shown.set(message.message_id, node);
  }
  for (const answer of update.answers) {
    if (answer.url) window.open(answer.url, "_blank", "noopener");
    if (answer.text) (answer.show_alert ? showAlert : toast)(answer.text);
  }
  cursor = update.cursor;
  const empty = shown.size === 0;
  $("start").hidden = !empty;
  $("composer").hidden = empty;
  if (update.messages.length && atEnd) {
    box.scrollTop = box.scrollHeight;
    for (const image of box.querySelectorAll("img.photo")) image.addEventListener("load", () => { box.scrollTop = box.scrollHeight; }, { once: true });
  }
}
async function follow() {
  for (let wait = 0; ; wait = 20) {
    const id = customer.id;
    try {
      const update = await call(`/api/chat?customer=${id}&after=${cursor}&wait=${wait}`);
      if (id === customer.id) apply(update);
      $("bot-status").textContent = "bot";
    } catch {
      $("bot-status").textContent = "connecting…";
      await new Promise((resolve) => setTimeout(resolve, 1500));
    }
  }
}
async function send(text) {
  try { await call("/api/send", { ...who(), text }); } catch (error) { toast(error.message); }
}
async function refreshWorld() {
  try {
    const world = await call(`/api/world?language=${customer.language}`);
    $("bot-name").textContent = world.bot.first_name;
    $("avatar").textContent = world.bot.first_name.slice(0, 1);
    $("clock").textContent = new Date(world.now * 1000).toLocaleString([], { dateStyle: "full", timeStyle: "short" });
    $("commands").replaceChildren(...world.commands.map(({ command, description }) => {
      const button = element("button");
      button.append(element("b", "", `/${command}`), element("span", "", description));
      button.addEventListener("click", () => { $("commands").hidden = true; send(`/${command}`); });
      return button;
    }));
  } catch { /* the world is starting or ending; the chat's status line says so */ }
}
async function followJournal() {
  for (let after = 0; ; ) {
    try {
      const { lines, cursor: next } = await call(`/api/journal?after=${after}&wait=20`);
      after = next;
      for (const line of lines) {
        const item = element("li");
        item.append(element("time", "", new Date(line.at * 1000).toLocaleTimeString([], { hour12: false })), element("span", "", line.text));
        $("journal").prepend(item);
      }
      while ($("journal").children.length > 80) $("journal").lastChild.remove();
    } catch { await new Promise((resolve) => setTimeout(resolve, 2000)); }
  }
}

// ------------------------------------------------------------------ controls
function showCustomer() { $("name").value = customer.name; $("language").value = customer.language; remember(); }
$("name").addEventListener("change", (event) => { customer.name = event.target.value.trim() || "Alex"; showCustomer(); });
$("language").addEventListener("change", (event) => { customer.language = event.target.value; showCustomer(); refreshWorld(); });
$("new-customer").addEventListener("click", () => {
  customer.id = 1000 + Math.floor(Math.random() * 8999);
  cursor = 0;
  shown.clear();
  $("messages").replaceChildren();
  $("start").hidden = false;
  $("composer").hidden = true;
  showCustomer();
});
$("start-button").addEventListener("click", () => send("/start"));
$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  $("text").value = "";
  if (text) send(text);
});
$("menu").addEventListener("click", () => { $("commands").hidden = !$("commands").hidden; });
for (const button of document.querySelectorAll("[data-advance]")) {
  button.addEventListener("click", async () => { try { await call("/api/clock", { advance: Number(button.dataset.advance) }); await refreshWorld(); } catch (error) { toast(error.message); } });
}
$("connect").addEventListener("click", async () => {
  const note = $("connection");
  $("connect").disabled = true;
  note.className = "note";
  note.textContent = "Starting a client core…";
  try {
    const result = await call("/api/connect", who());
    note.textContent = result.text;
    note.classList.add(result.ok ? "ok" : "bad");
  } catch (error) {
    note.textContent = error.message;
    note.classList.add("bad");
  } finally { $("connect").disabled = false; }
});
showCustomer();
refreshWorld();
setInterval(refreshWorld, 5000);
follow();
followJournal();
