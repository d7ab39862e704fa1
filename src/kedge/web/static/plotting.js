// What every explorable figure needs. This file stands first in plots.js, which pages with a figure load.

const roomy = matchMedia("(hover: hover) and (min-width: 40rem)");

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function load(address) {
  return new Promise((done, failed) => {
    document.head.append(Object.assign(document.createElement("script"), { src: address, onload: done, onerror: failed }));
  });
}

// The script would write a style sheet of its own for maps, which the content policy refuses: its place is taken first.
function holdPlace(id) {
  if (id && !document.getElementById(id)) document.head.append(Object.assign(document.createElement("template"), { id }));
}

function whenLoaded(act) {
  if (document.readyState === "complete") act(); else addEventListener("load", act, { once: true });
}

function onTheme(act) {
  document.documentElement.addEventListener("kedge-theme", act);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", act);
}

