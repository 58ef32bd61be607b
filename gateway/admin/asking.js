// Asks the gateway. What it is asked for is decided in the views.
const nav = document.querySelector("nav"), main = document.querySelector("main");
const POLL_MS = 2000, POINTS = 150, READ_MS = 15000, ACT_MS = 120000;
let key = sessionStorage.getItem("key") || "", namespace = sessionStorage.getItem("namespace") || "";
// What is served, and the namespace that is meant where none is chosen: neither is known before it was asked for.
let served = null, home = "", homing = false, turn = 0, timer = 0;
const lags = [];
const here = () => namespace || home;

class Refusal extends Error {
  constructor(status, problem) {
    super(problem.detail || `the gateway answered ${status}`);
    this.status = status;
    this.faults = Array.isArray(problem.errors) ? problem.errors : [];
  }
}
// Amounts are exact decimals, which this language's numbers are not: every number stays the text it came as,
// and goes as the text that was typed.
const exact = text => JSON.parse(text.replace(/("(?:[^"\\]|\\.)*")|-?\d[\d.eE+-]*/g, (all, quoted) => quoted || `"${all}"`));
const written = body => JSON.stringify(body).replace(/"amount":"(-?(?:0|[1-9]\d*)(?:\.\d+)?)"/, '"amount":$1');

async function ask(path, { query = {}, body, reason, where = here() } = {}) {
  const headers = {};
  // Names and reasons travel percent-encoded; a key is taken as it stands.
  if (key) headers.Authorization = `Bearer ${key}`;
  if (where) headers["X-Namespace"] = encodeURIComponent(where);
  if (reason) headers["X-Actor-Reason"] = encodeURIComponent(reason);
  if (body) headers["Content-Type"] = "application/json";
  const words = new URLSearchParams(Object.entries(query).filter(([, word]) => word !== null && word !== undefined && word !== ""));
  let answer, text;
  try {
    answer = await fetch(`${path}?${words}`, { method: body ? "POST" : "GET", headers, body: body && written(body), cache: "no-store",
      signal: AbortSignal.timeout(body ? ACT_MS : READ_MS) });
    text = await answer.text();
  } catch (error) {
    const doubt = body ? "; what was asked for may have been done all the same" : "";
    throw new Refusal(0, { detail: `the gateway does not answer (${error.message})${doubt}` });
  }
  let told;
  try { told = answer.ok ? exact(text) : JSON.parse(text); } catch { /* a proxy between has spoken */ }
  if (answer.ok && told) return told;
  throw new Refusal(answer.status, told || { detail: `something before the gateway answered ${answer.status}` });
}
const has = path => served !== null && Object.hasOwn(served, path);  // null too when somebody signed out meanwhile
