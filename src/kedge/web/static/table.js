// Comfort for the table of runs: what is picked stays picked over pages, keys move and pick, columns are chosen in a dialog.
// Without this file the same is done by the form, the links and the page of columns.

const form = document.getElementById("chosen");
const boxes = () => [...document.querySelectorAll("#runs tbody input[name=run]")];

function picked() {
  return form ? [...new Set(new FormData(form).getAll("run"))] : [];
}

// The address is the state: links of this page carry what is picked on to the next page.
function carry() {
  const runs = picked();
  document.getElementById("count").textContent = String(runs.length);
  for (const box of boxes()) box.closest("tr").classList.toggle("on", box.checked);
  for (const link of document.querySelectorAll("#runs thead a, #next, #columns, .under a")) {
    const address = new URL(link.href);
    address.searchParams.delete("pick");
    for (const run of runs) address.searchParams.append("pick", run);
    link.href = address.pathname + address.search;
  }
  const here = new URL(location.href);
  here.searchParams.delete("pick");
  for (const run of runs) here.searchParams.append("pick", run);
  history.replaceState(null, "", here);
}

function move(by) {
  const all = boxes(), at = all.indexOf(document.activeElement);
  const next = all[at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, at + by))];
  next?.focus();
  next?.closest("tr").scrollIntoView({ block: "nearest" });
}

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input:not([type=checkbox]), select, textarea, dialog")) return;
  const act = { j: () => move(1), k: () => move(-1), c: () => form.querySelector(".selbar .main").click(),
    x: () => { const box = document.activeElement; if (boxes().includes(box)) box.click(); } }[event.key];
  if (act) { event.preventDefault(); act(); }
}

function watch() {
  if (!form) return;
  form.addEventListener("change", carry);
  form.addEventListener("submit", (event) => {
    const least = event.submitter?.hasAttribute("formaction") ? 1 : 2;
    if (picked().length < least) { event.preventDefault(); boxes()[0]?.focus(); }
  });
  document.addEventListener("keydown", keys);
  document.addEventListener("kedge-fresh", carry);
  for (const hint of document.querySelectorAll(".keys")) hint.hidden = !matchMedia("(hover: hover)").matches;
  if (new URLSearchParams(location.search).has("pick")) carry();
}

// The last choice of columns is kept in the browser, by table; an address that names columns goes before it.
function remember() {
  if (!form) return;
  const name = `kedge-columns-${form.dataset.key}`, here = new URL(location.href), named = here.searchParams.getAll("column");
  try {
    if (named.length) { localStorage.setItem(name, JSON.stringify(named)); return; }
    const kept = JSON.parse(localStorage.getItem(name) ?? "[]");
    if (!Array.isArray(kept) || !kept.length || here.searchParams.has("default")) return;
    for (const column of kept) here.searchParams.append("column", String(column));
    location.replace(here);
  } catch { /* storage may be closed to this page: then Kedge's own choice is shown */ }
}

async function fetched(address) {
  const answer = await fetch(address, { headers: { accept: "text/html" } }).catch(() => null);
  return answer?.ok ? new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("picker") : null;
}

// Typing finds columns while what is ticked stays, whatever is looked for.
function finding(picker, base) {
  let asked = 0;
  picker.querySelector("#look").addEventListener("input", async (event) => {
    const mine = ++asked, address = new URL(base, location.href);
    address.searchParams.delete("column");
    for (const name of new FormData(picker).getAll("column")) address.searchParams.append("column", String(name));
    address.searchParams.set("look", event.target.value);
    await new Promise((done) => setTimeout(done, 150));
    if (mine !== asked) return;
    const fresh = await fetched(address);
    if (!fresh || mine !== asked) return;
    for (const id of ["chosen-columns", "free", "matching"]) picker.querySelector(`#${id}`).replaceWith(fresh.querySelector(`#${id}`));
  });
}

async function pick(event) {
  event.preventDefault();
  const link = event.currentTarget, picker = await fetched(link.href);
  if (!picker) { location.href = link.href; return; }
  const dialog = document.createElement("dialog");
  dialog.setAttribute("aria-label", "Columns of the table");
  const close = Object.assign(document.createElement("button"), { className: "button", type: "button", textContent: "Close" });
  close.addEventListener("click", () => dialog.close());
  picker.querySelector(".query").append(close);
  picker.addEventListener("submit", () => picker.querySelector("#look").removeAttribute("name"));
  dialog.append(picker);
  dialog.addEventListener("close", () => { dialog.remove(); link.focus(); });
  document.body.append(dialog);
  finding(picker, link.href);
  dialog.showModal();
  picker.querySelector("#look").focus();
}

watch();
remember();
document.getElementById("columns")?.addEventListener("click", pick);
