// Live updates, the theme and the times. Every page stands without this file.

const themes = ["system", "light", "dark"];

function themeSwitch(button) {
  const root = document.documentElement;
  const show = (name) => { button.textContent = `Theme: ${name}`; };
  show(root.dataset.theme ?? "system");
  button.hidden = false;
  button.addEventListener("click", () => {
    const next = themes[(themes.indexOf(root.dataset.theme ?? "system") + 1) % themes.length];
    if (next === "system") delete root.dataset.theme; else root.dataset.theme = next;
    try { localStorage.setItem("kedge-theme", next); } catch { /* not kept, still shown */ }
    show(next);
    root.dispatchEvent(new CustomEvent("kedge-theme"));
  });
}

function timesSwitch(button) {
  let exact = false;
  button.hidden = false;
  button.addEventListener("click", () => {
    exact = !exact;
    button.setAttribute("aria-pressed", String(exact));
    button.textContent = exact ? "Times: UTC" : "Times: relative";
    showTimes(document, exact);
  });
  return () => exact;
}

function showTimes(root, exact) {
  for (const time of root.querySelectorAll("time")) {
    time.dataset.said ??= time.textContent;
    time.textContent = exact ? time.title : time.dataset.said;
  }
}

function busy(part) {
  const chosen = getSelection();
  return part.contains(document.activeElement) || (chosen && !chosen.isCollapsed && part.contains(chosen.anchorNode));
}

// New rows of a growing list wait behind a button, so that nothing moves under the pointer.
function offer(part, fresh) {
  const known = new Set([...part.children].map((row) => row.dataset.serial));
  const news = [...fresh.children].filter((row) => !known.has(row.dataset.serial)).length;
  if (!news) return;
  let button = part.previousElementSibling;
  if (!button?.matches(".news")) {
    button = Object.assign(document.createElement("button"), { className: "button news", type: "button" });
    part.before(button);
  }
  button.textContent = `${news} new, show`;
  button.onclick = () => { part.replaceWith(fresh); button.remove(); };
}

// Rows that are known change in place, in their place; new ones wait behind a button. What is ticked stays ticked.
function rows(part, fresh) {
  const known = new Map([...part.children].map((row) => [row.dataset.serial, row]));
  let news = 0;
  for (const row of fresh.children) {
    const old = known.get(row.dataset.serial);
    if (!old) { news += 1; continue; }
    const box = row.querySelector("input[type=checkbox]"), was = old.querySelector("input[type=checkbox]");
    if (box && was) { box.toggleAttribute("checked", was.hasAttribute("checked")); }
    if (old.innerHTML === row.innerHTML || busy(old)) continue;
    const ticked = was?.checked;
    old.replaceChildren(...row.childNodes);
    if (ticked !== undefined) old.querySelector("input[type=checkbox]").checked = ticked;
  }
  const place = document.getElementById(part.dataset.rows);
  if (!place) return;
  place.hidden = !news;
  place.textContent = `${news} new, show`;
}

function take(fetched, exact) {
  showTimes(fetched, exact);
  for (const part of document.querySelectorAll("[data-live]")) {
    const fresh = fetched.getElementById(part.id);
    if (!fresh || fresh.innerHTML === part.innerHTML || (part.dataset.rows === undefined && busy(part))) continue;
    if (part.dataset.rows !== undefined) rows(part, fresh); else if (part.dataset.grow !== undefined) offer(part, fresh); else part.replaceWith(fresh);
  }
  document.dispatchEvent(new CustomEvent("kedge-fresh"));
}

function follow(line, isExact) {
  const main = document.querySelector("main");
  let seen = main.dataset.stream;
  let waiting = false, source = null, lostAt = null;

  async function redraw() {
    if (waiting || document.hidden) return;
    waiting = true;
    await new Promise((done) => setTimeout(done, 1000));
    waiting = false;
    if (document.hidden) return;
    const answer = await fetch(location.href, { headers: { accept: "text/html" } }).catch(() => null);
    if (!answer?.ok) return;
    const fetched = new DOMParser().parseFromString(await answer.text(), "text/html");
    take(fetched, isExact());
    main.dataset.poll = fetched.querySelector("main")?.dataset.poll ?? "";
  }

  // What a run measures writes no event: a page that shows a run going on asks again by itself.
  function poll() {
    const seconds = Number(main.dataset.poll);
    if (!seconds) return;
    setTimeout(async () => { await redraw(); poll(); }, Math.max(1, seconds - 1) * 1000);
  }

  function open() {
    source = new EventSource(`/api/v1/stream?after=${encodeURIComponent(seen)}`);
    source.onopen = () => {
      if (lostAt) redraw();
      lostAt = null;
      line.textContent = "Live";
      line.className = "ok state";
    };
    source.onerror = () => {
      lostAt ??= new Date();
      line.textContent = `Not live: figures are from ${lostAt.toISOString().slice(11, 16)} UTC`;
      line.className = "warn state";
    };
    source.addEventListener("changed", (message) => { seen = message.lastEventId; redraw(); });
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { source?.close(); source = null; }
    else if (!source) { open(); redraw(); }
  });
  if (!document.hidden) open();
  poll();
  addEventListener("pagehide", () => source?.close());
}

document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.target.closest("input, textarea, select")) {
    event.preventDefault();
    document.getElementById("find").focus();
  }
  if (event.key === "Escape") {
    const menu = document.querySelector(".menu[open]");
    if (menu) { menu.open = false; menu.querySelector("summary").focus(); }
  }
});

// Clients of the MLflow protocol print addresses like /#/experiments/7/runs/5f: they lead to the same thing here.
function sendOn() {
  const [, kind, name, below, number] = location.hash.match(/^#\/(experiments|models)\/([^/?]+)(?:\/(runs|versions)\/([^/?]+))?/) ?? [];
  if (location.pathname !== "/" || !kind) return;
  location.replace(below === "runs" ? `/runs/${number}` : below ? `/models/${name}/versions/${number}` : `/${kind}/${name}`);
}

sendOn();
themeSwitch(document.getElementById("theme"));
const isExact = timesSwitch(document.getElementById("times"));
if (document.querySelector("main[data-stream]")) follow(document.getElementById("line"), isExact);
