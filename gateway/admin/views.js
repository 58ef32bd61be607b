// The views: what each asks for, and what it makes of it.
const heading = (title, text) => [make("h2", null, title), make("p", { class: "soft" }, text)];
const tile = (value, name, bad) => make("div", { class: bad ? "tile bad" : "tile" }, make("b", null, value), make("span", null, name));

async function overview() {
  const found = await ask("admin/v1/flusher");
  if (found.lag_entries !== null) lags.push(found.lag_entries);
  lags.splice(0, lags.length - POINTS);
  const faults = Object.entries(found.faults), stopped = found.shards.filter(one => one.stop_reason !== null);
  const notable = found.shards.filter(one => one.stop_reason !== null || Number(one.entries) > 0);
  const count = text => text === null ? "?" : grouped(text);
  return [heading("Overview", "What the gateway can do, and how far the ledger is behind. Looked at every two seconds."),
    make("div", { class: "tiles" },
      tile(faults.length ? "Not ready" : "Ready", faults.length ? "see below" : "both databases answer", faults.length),
      tile(count(found.lag_entries), "entries the ledger does not have yet"),
      tile(String(stopped.length), "shards that cannot be posted", stopped.length),
      tile(count(found.quarantined), "entries in quarantine", Number(found.quarantined) > 0),
      tile(count(found.retries), "attempts of the flusher that failed")),
    faults.map(([what, why]) => make("div", { class: "note" }, make("b", null, what), `: ${why}`)),
    chart(lags, "entries behind, since this page was opened"),
    make("h3", null, "Shards"),
    table([
      ["shard", one => one.shard, "number"], ["epoch", one => word(one.epoch), "number"], ["head", one => word(one.head), "id"],
      ["watermark", one => word(one.watermark), "id"], ["behind", one => amount(one.entries), "number"],
      ["stopped", one => one.stop_reason === null ? "–" : [when(one.stopped_since), make("div", { class: "bad" }, one.stop_reason)], "name"],
    ], notable, found.lag_entries === null ? "How far the ledger is behind is not known." : "The ledger has all that is in the journals.")];
}

// Names are others' words: whatever way they are written in, they end where they end, and the pool is no user's name.
const userOf = one => one.user_id === null ? make("i", null, "the namespace's pool") : theirs(one.user_id);
const nameOf = one => [userOf(one), ...[one.event_type, one.unit, one.resource].filter(Boolean).map(text => [", ", theirs(text)])];
const plainName = one => [one.user_id === null ? "the pool" : one.user_id, one.event_type, one.unit, one.resource].filter(Boolean).join(", ");
const legsOf = one => (one.legs || []).slice(1).map(leg => make("li", null, amount(leg.amount), " of ", nameOf(leg)));
const owner = ["account", one => [make("div", null, userOf(one)),
  make("div", { class: "soft" }, theirs(one.event_type), one.resource ? [", ", theirs(one.resource)] : null),
  one.legs && one.legs.length > 1 ? make("details", { class: "soft" }, make("summary", null, `and ${one.legs.length - 1} more`), make("ul", null, legsOf(one))) : null], "name"];
const words = one => ({ user_id: one.user_id, event_type: one.event_type, unit: one.unit, resource: one.resource });

async function accounts() {
  const open = one => has("/v1/account") ? make("a", { href: `#account/${encodeURIComponent(JSON.stringify(words(one)))}`, "aria-label": `look at ${plainName(one)}` }, "look") : null;
  const { box } = await list("admin/v1/accounts", "accounts", {}, [owner, ["unit", one => word(one.unit)],
    ["balance", one => amount(one.balance), "number"], ["reserved", one => amount(one.reserved), "number"],
    ["available", one => amount(difference(one.balance, one.reserved)), "number"], ["open holds", one => one.open_holds, "number"], ["", open],
  ], "This namespace has no account yet. The first allocation makes one.");
  return [heading("Accounts", "As the ledger has them, in its order."), box];
}

function book(one, verb, path, text) {
  const once = [...crypto.getRandomValues(new Uint32Array(4))].join("-");
  form([`${verb} `, nameOf(one)], text, [{ name: "amount", label: `How much, in ${one.unit}`, required: true }, reason], verb, async (said, ask) => {
    // An amount may be typed as this page shows it.
    const typed = said.amount.replaceAll("\u202f", "");
    await ask(path, { body: { ...words(one), amount: typed, idempotency_key: `page:${once}` }, reason: said.reason });
  });
}
async function account(chosen) {
  const query = words(chosen), found = await ask("v1/account", { query });
  const limits = has("/v1/limits") ? (await ask("v1/limits", { query })).limits : [];
  const { box, rows } = await list("v1/ledger", "entries", query, [
    ["time", one => when(one.created_at), "time"], ["what", one => mark(one.entry_type)], ["amount", one => amount(one.amount), "number"],
    ["balance after", one => amount(one.balance_after), "number"], ["hold", one => word(one.reservation_id), "id"],
    ["who", one => word(one.actor_id), "name"], ["why", one => word(one.reason), "name"],
  ], "Nothing is booked on it yet.");
  return [heading(nameOf(found), `As of ${local(found.as_of)}.`),
    make("div", { class: "bar" },
      button("Allocate", () => book(found, "Allocate", "v1/allocations", "Adds quota."), "main"),
      button("Adjust", () => book(found, "Adjust", "v1/adjustments", "Corrects the balance: -5 takes five off."))),
    make("div", { class: "tiles" }, tile(amount(found.available), "available", found.available.startsWith("-")), tile(amount(found.balance), "balance"),
      tile(amount(found.reserved), "reserved"), tile(found.active_reservations, "open holds")),
    found.current_period ? make("p", null, `Since ${local(found.current_period.period_start)} a period runs that was given ${amount(found.current_period.allocation)}.`) : null,
    limits.length ? [make("h3", null, "Limits"), table([
      ["name", one => word(one.name), "name"], ["per", one => one.per], ["limit", one => amount(one.limit), "number"], ["used", one => amount(one.used), "number"],
      ["window", one => one.window_seconds === null ? "–" : `${one.window_seconds} s`], ["", one => one.shadow ? mark("shadow") : null],
    ], limits, "")] : null,
    make("h3", null, "Ledger"), chart(rows.map(one => one.balance_after).reverse(), `balance after each of the newest ${rows.length} lines`), box];
}

async function holds() {
  const chosen = sessionStorage.getItem("status") || "active", statuses = ["active", "expired", "committed", "released", "all"];
  const status = make("select", null, statuses.map(one => make("option", one === chosen ? { selected: "" } : null, one)));
  const user = make("input", { value: sessionStorage.getItem("user") || "", placeholder: "every user" });
  const look = event => { event.preventDefault(); sessionStorage.setItem("status", status.value); sessionStorage.setItem("user", user.value.trim()); show(); };
  const filter = make("form", { class: "bar" }, make("label", null, "status", status), make("label", null, "user", user), make("button", { type: "submit" }, "Show"));
  filter.onsubmit = look;
  const release = one => button("Release", () => form(`Release ${one.reservation_id}`, [`Gives ${amount(one.amount)} `, theirs(one.unit), " back to ", nameOf(one),
    legsOf(one).length ? [", and", make("ul", null, legsOf(one))] : ". ", "Whoever made the hold can no longer commit it."],
    [reason], "Release", async (said, ask) => {
      const done = await ask(`admin/v1/holds/${one.reservation_id}/release`, { body: { reason: said.reason } });
      if (!done.released) throw new Refusal(200, { detail: `nothing was released: ${one.reservation_id} is ${done.reason}` });
    }, true), "grave", one.reservation_id);
  const query = { status: chosen === "all" ? "" : chosen, user_id: sessionStorage.getItem("user") };
  const { box } = await list("admin/v1/holds", "reservations", query, [
    ["hold", one => [one.reservation_id, make("div", { class: "soft" }, theirs(one.actor_id || ""))], "id"],
    ["status", one => mark(one.status, one.status === "active")], owner, ["unit", one => word(one.unit)],
    ["amount", one => amount(one.amount), "number"], ["consumed", one => amount(one.consumed), "number"],
    ["made", one => when(one.created_at), "time"], ["expires", one => when(one.expires_at), "time"],
    ["", one => one.status === "active" ? release(one) : null],
  ], "There is no such hold.");
  return [heading("Holds", "Newest first."), filter, box];
}

const SCOPES = ["read", "spend", "allocate", "admin"];
function secret(frame, made) {
  kept(frame);
  const copy = button("Copy", () => navigator.clipboard.writeText(made.key).then(() => { copy.textContent = "Copied"; }));
  return make("div", { class: "sign" }, question("The key, for this once"), make("p", { class: "soft" }, "Nobody can show it again: only what it is checked by is kept."),
    make("div", { class: "secret" }, made.key), make("div", { class: "bar" }, navigator.clipboard ? copy : null, closeButton("I have it", "main")));
}
function createKey() {
  form("Make a key", "", [{ name: "name", label: "What it is for" }, { name: "namespace", label: "Namespace", value: namespace, hint: home },
    { name: "all_namespaces", label: "of every namespace", type: "checkbox" },
    ...SCOPES.map(one => ({ name: `scope ${one}`, label: one, type: "checkbox", checked: one === "read" })),
    { name: "expires", label: "Good until (for ever when left out)", type: "datetime-local" }, reason], "Make it", async (said, ask, frame) => {
    const body = { scopes: SCOPES.filter(one => said[`scope ${one}`]), name: said.name, reason: said.reason, all_namespaces: said.all_namespaces };
    if (said.namespace && !said.all_namespaces) body.namespace = said.namespace;
    if (said.expires) body.expires_at = new Date(said.expires).toISOString();
    return secret(frame, await ask("admin/v1/keys", { body }));
  });
}
async function keys() {
  const rotate = one => button("Rotate", () => form(["Rotate ", theirs(one.name || one.id)], "Makes a key in its place. The old one goes on for a while.",
    [{ name: "overlap", label: "Seconds the old one goes on for", type: "number", value: 86400, required: true }, reason], "Rotate",
    async (said, ask, frame) => secret(frame, await ask(`admin/v1/keys/${one.id}/rotate`, { body: { overlap_seconds: Number(said.overlap), reason: said.reason } }))), "", one.name || one.id);
  const revoke = one => button("Revoke", () => form(["Revoke ", theirs(one.name || one.id)], "It is good for nothing at once, and for ever.", [reason], "Revoke",
    async (said, ask) => { await ask(`admin/v1/keys/${one.id}/revoke`, { body: { reason: said.reason } }); }, true), "grave", one.name || one.id);
  const actions = one => make("div", { class: "actions" }, one.replaced_by === null ? rotate(one) : null, revoke(one));
  const { box } = await list("admin/v1/keys", "keys", { namespace }, [
    ["id", one => one.id, "id"], ["name", one => word(one.name), "name"], ["namespace", one => one.namespace === null ? make("i", null, "every one") : theirs(one.namespace), "name"],
    ["may", one => one.scopes.join(", ")], ["status", one => mark(one.status, one.status === "active")], ["made", one => [when(one.created_at), make("div", { class: "soft" }, theirs(one.created_by))], "time"],
    ["good until", one => when(one.expires_at), "time"], ["", one => one.status === "active" ? actions(one) : null],
  ], "No key is kept. Those of the environment are not listed.");
  return [heading("Keys", "Newest first. The keys themselves are kept nowhere."), make("div", { class: "bar" }, button("Make a key", createKey, "main")), box];
}

async function reconciles() {
  const issues = one => one.discrepancies.length ? make("details", null, make("summary", null, "what"), make("pre", null, JSON.stringify(one.discrepancies, null, 1))) : null;
  const { box } = await list("admin/v1/reconciliations", "reconciliations", {}, [
    ["begun", one => when(one.started_at), "time"], ["by", one => mark(one.trigger)], ["accounts", one => amount(one.accounts_checked), "number"],
    ["findings", one => amount(one.findings), "number"], ["repaired", one => amount(one.repaired), "number"], ["trusted", one => one.trust], ["", issues],
  ], "Nothing was found yet that did not agree, and nobody has asked.");
  const compare = (title, text, fields, body) => form(title, text, fields, title, async (said, ask, frame) => {
    const found = [];
    let cursor = null, checked = 0, repaired = 0;
    do {
      const page = await ask("v1/reconcile", { body: { ...body(said), ...(cursor && { cursor }) }, reason: said.reason });
      found.push(...page.discrepancies);
      checked += Number(page.accounts_checked);
      repaired += Number(page.repaired);
      cursor = page.next_cursor;
    } while (cursor && frame.open);
    const head = found.length ? `${found.length} findings` : "Redis and the ledger agree";
    const done = `${checked} accounts were compared${"repair" in body(said) ? `, and ${repaired} repaired` : ""}.`;
    return result(cursor ? "Stopped before the end" : head, done, found.length ? make("pre", null, JSON.stringify(found, null, 1)) : null);
  }, "repair" in body({}));
  const bar = has("/v1/reconcile") ? make("div", { class: "bar" },
    button("Compare now", () => compare("Compare now", "Compares every account of the namespace in Redis with the ledger. Changes nothing.", [], () => ({})), "main"),
    button("Repair", () => compare("Repair", "Compares, and repairs what does not agree. Each repair is a line of the ledger.",
      [{ name: "trust", label: "Whose balance is right where they differ", options: ["ledger", "redis"] }, reason], said => ({ repair: true, trust: said.trust })), "grave")) : null;
  return [heading("Reconcile", "Redis and the ledger, compared account by account. Rounds that found nothing are not listed."), bar, box];
}

async function audit() {
  const details = one => Object.keys(one.details).length ? make("details", null, make("summary", null, "details"), make("pre", null, JSON.stringify(one.details, null, 1))) : null;
  const { box } = await list("admin/v1/audit", "events", { namespace }, [
    ["time", one => when(one.at), "time"], ["namespace", one => word(one.namespace), "name"], ["who", one => word(one.actor_id), "name"], ["did", one => mark(one.action)],
    ["to", one => word(one.target), "id"], ["why", one => word(one.reason), "name"], ["", details],
  ], "No operator has done anything yet.");
  return [heading("Audit", "What operators did, newest first. Lines are added and never changed."), box];
}
