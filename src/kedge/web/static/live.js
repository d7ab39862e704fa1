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

function take(fetched, exact) {
  showTimes(fetched, exact);
  for (const part of document.querySelectorAll("[data-live]")) {
    const fresh = fetched.getElementById(part.id);
    if (!fresh || fresh.innerHTML === part.innerHTML || busy(part)) continue;
    if (part.dataset.grow !== undefined) offer(part, fresh); else part.replaceWith(fresh);
  }
  document.dispatchEvent(new CustomEvent("kedge-fresh"));
}

function follow(line, isExact) {
  let seen = document.querySelector("main").dataset.stream;
  let waiting = false, source = null, lostAt = null;

  async function redraw() {
    if (waiting || document.hidden) return;
    waiting = true;
    await new Promise((done) => setTimeout(done, 1000));
    waiting = false;
    if (document.hidden) return;
    const answer = await fetch(location.href, { headers: { accept: "text/html" } }).catch(() => null);
    if (answer?.ok) take(new DOMParser().parseFromString(await answer.text(), "text/html"), isExact());
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

themeSwitch(document.getElementById("theme"));
const isExact = timesSwitch(document.getElementById("times"));
if (document.querySelector("main[data-stream]")) follow(document.getElementById("line"), isExact);
