// Lists what is wrong with a page as it stands: run in the page, gives sentences.
() => {
  const found = [];
  const all = (selector) => [...document.querySelectorAll(selector)];
  const over = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (over > 0) found.push(`${over} px wider than the window`);
  if (all("h1").length !== 1) found.push(`${all("h1").length} h1`);
  if (all("th:not([scope])").length) found.push("a th without scope");
  if (all("[onclick], [onerror], [onload]").length) found.push("an inline handler");
  if (!all(".js-plotly-plot").length && all("[style]").length) found.push("an inline style");
  for (const chart of all("svg.chart")) if (!chart.closest("[aria-hidden]") && !chart.getAttribute("aria-label")) found.push("a chart without a name");
  for (const field of all("input:not([type=hidden])")) if (!field.labels.length && !field.getAttribute("aria-label")) found.push(`a field without a label: ${field.name}`);
  const levels = all("main h1, main h2, main h3").map((heading) => Number(heading.tagName[1]));
  levels.forEach((level, at) => { if (at && level > levels[at - 1] + 1) found.push(`a heading jumps to ${level}`); });
  const ids = all("[id]").map((one) => one.id);
  for (const id of new Set(ids)) if (ids.filter((one) => one === id).length > 1) found.push(`the id ${id} twice`);

  const parse = (text) => { const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number); return { r, g, b, a }; };
  const mix = (top, under) => {
    const part = (name) => top[name] * top.a + under[name] * (1 - top.a);
    return { r: part("r"), g: part("g"), b: part("b"), a: 1 };
  };
  const light = (colour) => {
    const part = (value) => (value / 255 <= .03928 ? value / 255 / 12.92 : ((value / 255 + .055) / 1.055) ** 2.4);
    return .2126 * part(colour.r) + .7152 * part(colour.g) + .0722 * part(colour.b);
  };
  const ground = (node) => {
    const stack = [];
    for (let one = node; one; one = one.parentElement) {
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour.a) stack.unshift(colour);
      if (colour.a === 1) break;
    }
    return stack.reduce((under, top) => mix(top, under), { r: 255, g: 255, b: 255, a: 1 });
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim().slice(0, 40), node = walker.currentNode.parentElement;
    if (!text || !node.checkVisibility({ visibilityProperty: true })) continue;
    if (node.closest("script, title, .unseen, .skip, [disabled]")) continue;
    const style = getComputedStyle(node);
    const shown = node.namespaceURI.endsWith("svg") ? style.fill : style.color;
    if (!shown.startsWith("rgb")) continue;
    const under = ground(node);
    const [bright, dark] = [light(mix(parse(shown), under)), light(under)].sort((one, other) => other - one);
    const ratio = (bright + .05) / (dark + .05);
    if (ratio < 4.5) found.push(`faint: ${text} (${ratio.toFixed(2)})`);
    if (parseFloat(style.fontSize) < 11.9) found.push(`small: ${text} (${style.fontSize})`);
  }
  return found;
}
