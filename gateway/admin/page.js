// The page itself: who is signed in, which view stands, and when it looks again.
const VIEWS = { overview, accounts, holds, keys, reconcile: reconciles, audit };

function signIn(error) {
  const field = make("input", { type: "password", autocomplete: "off", required: "", pattern: "\\s*[!-~]+\\s*", title: "a key has no spaces in it, and no letters beyond ASCII", "aria-label": "key", placeholder: "qg_…" });
  const shape = make("form", { class: "sign" }, heading("Sign in", "With a key that has the scope admin. It stays in this tab and is forgotten with it."),
    key ? told(error) : null, field, make("div", { class: "bar" }, make("button", { type: "submit", class: "main" }, "Sign in")),
    make("p", { class: "soft" }, "The first one is made on the gateway's machine: ", make("code", null, "quotagate keys create --all-namespaces --scope admin")));
  shape.onsubmit = event => { event.preventDefault(); sign(field.value.trim()); };
  forget();
  main.replaceChildren(shape);
  field.focus();
}
// Nothing of what one key may see is left for who comes next.
function forget() {
  served = null;
  home = "";
  lags.length = 0;
  nav.replaceChildren();
  main.replaceChildren();
}
function sign(shown) {
  key = shown;
  namespace = "";
  sessionStorage.clear();
  if (key) sessionStorage.setItem("key", key);
  forget();
  show();
}
// A key of one namespace sees that alone; who sees one alone means it, and whoever sees more, the default.
async function learnHome() {
  const session = served, { namespaces } = await ask("admin/v1/namespaces", { query: { limit: 2 }, where: "" });
  if (session === served) home = namespaces.length === 1 ? namespaces[0] : "default";
}
const titled = name => name[0].toUpperCase() + name.slice(1);
function menu() {
  const names = make("datalist", { id: "names" }), field = make("input", { list: "names", value: namespace, autocomplete: "off" });
  field.onfocus = async () => {
    try {
      const { namespaces } = await ask("admin/v1/namespaces", { query: { limit: 1000 }, where: "" });
      names.replaceChildren(...namespaces.map(one => make("option", { value: one })));
      field.onfocus = null;
    } catch (error) { if (!(error instanceof Refusal)) throw error; /* what is not proposed can be typed */ }
  };
  field.onchange = () => {
    namespace = field.value.trim();
    sessionStorage.setItem("namespace", namespace);
    // What stands there is another namespace's, and must not be acted on any more.
    main.replaceChildren();
    if (location.hash.startsWith("#account/")) location.hash = "accounts"; else show();
  };
  const link = name => {
    const made = make("a", { href: `#${name}` }, titled(name));
    made.onclick = () => { if (made.hash === location.hash) show(); };
    return make("li", null, made);
  };
  nav.replaceChildren(make("h1", null, "Quotagate"), make("div", { class: "version" }, "for operators"),
    make("label", null, "namespace", field, names),
    make("h2", null, "Look at"), make("ul", null, Object.keys(VIEWS).map(link)),
    make("div", { class: "actions" }, themeButton(), key ? button("Sign out", () => sign("")) : null),
    make("p", { class: "version" }, `times of ${Intl.DateTimeFormat().resolvedOptions().timeZone}`));
}
function again() {
  timer = setTimeout(() => document.hidden ? again() : show(), POLL_MS);
}
function place() {
  const [name, words] = location.hash.slice(1).split("/");
  try {
    const one = name === "account" ? JSON.parse(decodeURIComponent(words)) : null;
    if (one) return ["accounts", () => account(one)];
  } catch { /* a mistyped address */ }
  if (name === "account") return ["accounts", accounts];
  return Object.hasOwn(VIEWS, name) ? [name, VIEWS[name]] : ["overview", overview];
}
function named() {
  const field = nav.querySelector("input");
  if (field) field.placeholder = home;
}
function draw(name, nodes) {
  const focused = main.contains(document.activeElement);
  // What has not changed on the overview stays, so that it can be selected, and is not read out anew.
  if (name === "overview" && main.dataset.view === name) {
    nodes.forEach((node, at) => {
      const old = main.childNodes[at];
      if (!old) main.append(node); else if (!old.isEqualNode(node)) old.replaceWith(node);
    });
    while (main.childNodes.length > nodes.length) main.lastChild.remove();
  } else main.replaceChildren(...nodes);
  main.dataset.view = name;
  if (focused && !main.contains(document.activeElement)) main.focus({ preventScroll: true });
  if (!nav.firstChild) menu();
  named();
  for (const link of nav.querySelectorAll("a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  const title = main.querySelector("h2");
  document.title = `${title ? title.textContent + " – " : ""}Quotagate for operators`;
}
// What was asked for before the latest click is not shown when it comes at last.
async function show() {
  const mine = ++turn, [name, view] = place();
  clearTimeout(timer);
  main.setAttribute("aria-busy", "true");
  let content;
  try {
    if (served === null) {
      const { paths } = await ask("openapi.json", { where: "" });
      if (mine !== turn) return;
      served = paths;
    }
    // The overview is of no namespace: it goes on where the ledger cannot say which there are.
    if (!home && name !== "overview") await learnHome();
    if (mine !== turn) return;
    content = await view();
  } catch (error) {
    if (!(error instanceof Refusal)) reportError(error);
    if (mine === turn && error.status === 401) {
      main.removeAttribute("aria-busy");
      signIn(error);
      return;
    }
    content = [make("h2", null, titled(name)), told(error), button("Try again", show)];
  }
  if (mine !== turn) return;
  main.removeAttribute("aria-busy");
  draw(name, content.flat(Infinity).filter(Boolean));
  if (name !== "overview") return;
  again();
  if (!home && !homing) {
    homing = true;
    try { await learnHome(); } catch (error) { if (!(error instanceof Refusal)) reportError(error); /* asked again at the next look */ }
    homing = false;
    named();
  }
}
addEventListener("hashchange", () => {
  for (const frame of document.querySelectorAll("dialog:not([closedby])")) frame.close();
  show();
  main.focus();
});
show();
