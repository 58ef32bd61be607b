// Shows words, amounts, times, tables and lines of points, and asks for more in dialogs. Asks nobody.
const TEN = 10n;
function scaled(text, places) {
  const [whole, rest = ""] = text.split(".");
  return BigInt(whole + rest.padEnd(places, "0"));
}
function difference(one, other) {
  if (/[eE]/.test(one + other)) return "";
  const places = Math.max(...[one, other].map(text => (text.split(".")[1] || "").length));
  const digits = scaled(one, places) - scaled(other, places), sign = digits < 0n ? "-" : "";
  const size = digits < 0n ? -digits : digits, unit = TEN ** BigInt(places);
  const rest = places ? String(size % unit).padStart(places, "0").replace(/0+$/, "") : "";
  return `${sign}${size / unit}${rest && "." + rest}`;
}
const grouped = text => text.replace(/^(-?)(\d+)/, (all, sign, whole) => sign + whole.replace(/\B(?=(\d{3})+$)/g, "\u202f"));
const amount = text => text === null || text === undefined ? "–" : grouped(text);
const pad = number => String(number).padStart(2, "0");
function local(text) {
  const at = new Date(text);
  return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())} ${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
}
const when = text => text ? make("time", { datetime: text, title: text }, local(text).split(" ").map(part => [make("span", null, part), " "])) : "–";
const theirs = text => make("bdi", null, text);
const word = text => text === null || text === undefined || text === "" ? make("span", { class: "soft" }, "–") : theirs(text);
const mark = (text, on) => make("span", { class: on ? "mark on" : "mark" }, text);

function told(error) {
  return make("div", { class: "note", role: "alert" }, error.message, error.faults && error.faults.length > 1
    ? make("ul", null, error.faults.map(fault => make("li", null, `${fault.field}: ${fault.detail}`))) : null);
}
// Many buttons of one text are told apart, where they cannot be seen, by what each is for.
function button(text, act, kind, target) {
  const made = make("button", { type: "button", ...(kind && { class: kind }), ...(target && { "aria-label": `${text} ${target}` }) }, text);
  made.onclick = act;
  return made;
}
// Columns: title, what stands in a row's cell, and the cell's kind.
function table(columns, rows, empty) {
  if (!rows.length) return make("p", { class: "soft" }, empty);
  const kind = one => one[2] ? { class: one[2] } : null;
  return make("div", { class: "wide" }, make("table", null,
    make("thead", null, make("tr", null, columns.map(one => make("th", { scope: "col", ...kind(one) }, one[0])))),
    make("tbody", null, rows.map(row => make("tr", null, columns.map(one => make("td", kind(one), one[1](row))))))));
}
const less = (one, other) => difference(one, other).startsWith("-");
const most = values => values.reduce((one, other) => less(one, other) ? other : one);
const least = values => values.reduce((one, other) => less(other, one) ? other : one);
function chart(values, caption) {
  if (values.length < 2) return null;
  const numbers = values.map(Number), low = Math.min(0, ...numbers), high = Math.max(1, ...numbers), W = 600, H = 100;
  const y = value => (H - 4 - (value - low) / (high - low) * (H - 8)).toFixed(1);
  const points = numbers.map((value, place) => `${(place / (numbers.length - 1) * W).toFixed(1)},${y(value)}`).join(" ");
  const draw = (tag, attributes) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    return node;
  };
  const picture = draw("svg", { viewBox: `0 0 ${W} ${H}`, preserveAspectRatio: "none", role: "img", "aria-label": caption });
  picture.append(draw("line", { x1: 0, x2: W, y1: y(0), y2: y(0) }), draw("polyline", { points }));
  return make("figure", null, picture, make("figcaption", null, make("span", null, caption),
    make("span", null, `lowest ${grouped(least(values))}, highest ${grouped(most(values))}`)));
}

// Opens a dialog of its own for what is shown, and gives it; gone once it is closed.
function opened(shown) {
  const frame = make("dialog", { "aria-labelledby": "asked", tabindex: "-1" }, shown);
  frame.onclose = () => {
    if (frame.open) return;
    frame.remove();
    // Where it was opened from may be drawn anew.
    if (document.activeElement === document.body) main.focus({ preventScroll: true });
  };
  document.body.append(frame);
  frame.showModal();
  return frame;
}
const closeButton = (text, kind) => button(text, event => event.target.closest("dialog").close(), kind);
const question = (...words) => make("h3", { id: "asked" }, words);
// What is said once and never again does not go by an Escape.
function kept(frame) {
  frame.setAttribute("closedby", "none");
  frame.oncancel = event => event.preventDefault();
}

// Asks for values in a dialog, and does the act with them, in the namespace in which it was asked. What is refused
// is said there, and nothing typed is lost. What was under way when it was closed is told when it has ended.
function form(title, text, fields, verb, act, grave) {
  const inputs = fields.map(field => {
    const input = field.options
      ? make("select", { name: field.name }, field.options.map(one => make("option", { value: one }, one)))
      : make("input", { name: field.name, type: field.type || "text", ...(field.required && { required: "", pattern: ".*\\S.*" }), autocomplete: "off", ...(field.hint && { placeholder: field.hint }) });
    if (field.value !== undefined) input.value = field.value;
    if (field.checked) input.checked = true;
    return field.type === "checkbox" ? make("label", { class: "flag" }, input, field.label) : make("label", null, field.label, input);
  });
  const go = make("button", { type: "submit", class: grave ? "grave" : "main" }, verb), said = make("div"), where = here();
  const shape = make("form", null, question(title), text ? make("div", { class: "soft" }, text) : null, inputs, said,
    make("div", { class: "bar" }, go, closeButton("Cancel")));
  const frame = opened(shape);
  const reveal = shown => {
    if (shown !== shape) frame.replaceChildren(shown);
    if (!frame.open) { document.body.append(frame); frame.showModal(); }
    // Not on its button, which the key that has sent the form would press.
    if (!frame.contains(document.activeElement)) frame.focus();
  };
  shape.onsubmit = async event => {
    event.preventDefault();
    if (go.disabled) return;
    go.disabled = true;
    said.replaceChildren();
    const values = Object.fromEntries([...shape.elements].filter(one => one.name)
      .map(one => [one.name, one.type === "checkbox" ? one.checked : one.value.trim()]));
    try {
      const shown = await act(values, (path, more) => ask(path, { ...more, where }), frame);
      if (shown) reveal(shown);
      else if (frame.open) frame.close();
      else reveal(result(title, "It was done all the same, before it could be cancelled."));
      show();
    } catch (error) {
      if (!(error instanceof Refusal)) reportError(error);
      said.replaceChildren(told(error));
      go.disabled = false;
      reveal(shape);
    }
  };
}
const result = (title, text, more) => make("div", { class: "sign" }, question(title), make("p", { class: "soft" }, text), more || null,
  make("div", { class: "bar" }, closeButton("Close", "main")));
const reason = { name: "reason", label: "Why (it is kept)", required: true };

// A list that comes in pages: all of what has come, and a button for more.
async function list(path, field, query, columns, empty) {
  const page = await ask(path, { query }), rows = page[field];
  const shown = make("div", null, table(columns, rows, empty)), said = make("div"), box = make("div", null, shown, said);
  let cursor = page.next_cursor;
  const more = button("More", async () => {
    more.disabled = true;
    said.replaceChildren();
    try {
      const next = await ask(path, { query: { ...query, cursor } });
      rows.push(...next[field]);
      cursor = next.next_cursor;
      shown.replaceChildren(table(columns, rows, empty));
    } catch (error) {
      if (!(error instanceof Refusal)) reportError(error);
      said.replaceChildren(told(error));
    }
    more.disabled = false;
    if (!cursor) more.remove();
    (cursor ? more : main).focus({ preventScroll: true });
  });
  if (cursor) box.append(more);
  return { box, rows };
}
