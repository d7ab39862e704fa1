// The figure of the year, made explorable with Plotly once the server's drawing stands. Where it does not load, the drawing stays.

const stage = document.getElementById("stage");

function traces(data) {
  const x = data.weeks.map((week) => week.at);
  const pick = (name) => data.weeks.map((week) => week[name]);
  const one = colour("--c1"), two = colour("--c2"), faint = colour("--ink-3");
  const none = { hoverinfo: "skip", mode: "lines", line: { width: 0 }, connectgaps: false };
  const parts = [
    { ...none, x, y: pick("lower") },
    { ...none, x, y: pick("upper"), fill: "tonexty", fillcolor: one + "33" },
    { x, y: pick("limit"), mode: "lines", name: "limit", line: { color: faint, width: 1.25, dash: "2px,4px", shape: "hvh" } },
    { x, y: pick("loss"), mode: "lines+markers", name: data.champion, line: { color: one, width: 2 }, marker: { size: 4, color: one }, connectgaps: false,
      customdata: data.weeks.map((week) => [week.rows, week.lower, week.upper]), hovertemplate: "%{y:.3f}, %{customdata[0]:,} rows" },
  ];
  if (data.challenger) parts.push({ x, y: pick("trial"), mode: "lines+markers", name: data.challenger, line: { color: two, width: 2, dash: "5px,3px" }, marker: { size: 5, color: two } });
  const top = data.span[0] + 0.95 * (data.span[1] - data.span[0]);
  if (data.alarms.length) {
    parts.push({ x: data.alarms.map((alarm) => alarm.at), y: data.alarms.map(() => top), mode: "markers", name: "alarm", text: data.alarms.map((alarm) => alarm.title),
      hovertemplate: "%{text}<extra></extra>", marker: { symbol: "triangle-down", size: 11, color: colour("--bad") } });
  }
  return parts;
}

function layout(data) {
  const ink = colour("--ink"), ink3 = colour("--ink-3"), grid = colour("--grid"), edge = colour("--edge");
  const font = { family: getComputedStyle(document.body).fontFamily, size: 12, color: ink3 };
  const last = data.weeks.findLast((week) => week.loss !== null);
  const end = (y, text, hue) => ({ x: 1, xref: "paper", xanchor: "left", xshift: 6, y, text, showarrow: false, font: { ...font, color: hue, weight: hue === ink3 ? 400 : 600 } });
  const ends = last ? spread([[last.limit, `limit ${last.limit < 10 ? last.limit?.toFixed(3) : last.limit?.toPrecision(4)}`, ink3], [last.loss, data.champion, colour("--c1")], [data.challenger ? last.trial : null, data.challenger, colour("--c2")]], data).map((one) => end(...one)) : [];
  return {
    font, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "x unified", dragmode: "zoom", autosize: true,
    margin: { l: 42, r: 118, t: 26, b: 26 },
    hoverlabel: { bgcolor: colour("--surface"), bordercolor: colour("--line"), font: { ...font, color: ink } },
    xaxis: { gridcolor: "rgba(0,0,0,0)", linecolor: edge, ticks: "outside", ticklen: 4, tickcolor: edge, tickformat: "%b", hoverformat: "%-d %b %Y", dtick: "M1", showline: true },
    yaxis: { range: data.span, tickformat: data.span[1] - data.span[0] < 10 ? ".2f" : ",.0f", gridcolor: grid, zeroline: false, fixedrange: true },
    shapes: data.promotions.map((one) => ({ type: "line", x0: one.at, x1: one.at, yref: "paper", y0: 0, y1: 1.02, line: { color: ink3, width: 1 } })),
    annotations: [...labels(data, { ...font, color: ink, weight: 600 }), ...ends],
  };
}

// Marks closer than a label is wide keep their line and lose their name, as on the server's drawing.
function labels(data, font) {
  const span = Date.parse(data.weeks.at(-1).at) - Date.parse(data.weeks[0].at) || 1;
  const room = (34 / Math.max(300, stage.clientWidth - 160)) * span;
  let free = -Infinity;
  return data.promotions.flatMap((one) => {
    const at = Date.parse(one.at);
    if (at - free < room) return [];
    free = at;
    return [{ x: one.at, y: 1.02, yref: "paper", yanchor: "bottom", text: one.label, hovertext: one.title, showarrow: false, font }];
  });
}

function spread(wanted, data) {
  const room = (data.span[1] - data.span[0]) * 0.065;
  let free = data.span[1] + room;
  return wanted.filter(([y]) => y !== null && y !== undefined).sort((a, b) => b[0] - a[0]).map(([y, text, hue]) => {
    free = Math.min(y, free - room);
    return [free, text, hue];
  });
}

async function explore() {
  const source = document.getElementById("year-data");
  if (!stage?.dataset.script || !source || !roomy.matches) return;
  const data = JSON.parse(source.textContent);
  holdPlace(stage.dataset.styleId);
  await load(stage.dataset.script);
  const drawn = stage.querySelector("svg.chart:not([hidden])");
  const height = Math.round([...stage.querySelectorAll("svg.chart")].find((one) => one.getClientRects().length)?.getBoundingClientRect().height ?? 300);
  const plot = document.createElement("div");
  plot.className = "plot";
  plot.setAttribute("role", "img");
  plot.setAttribute("aria-label", drawn?.getAttribute("aria-label") ?? "");
  plot.hidden = true;
  stage.append(plot);
  const settings = { displayModeBar: false, responsive: true, scrollZoom: false };
  plot.hidden = false;
  await globalThis.Plotly.newPlot(plot, traces(data), { ...layout(data), height }, settings);
  for (const one of stage.querySelectorAll("svg.chart")) one.setAttribute("hidden", "");
  stage.dataset.drawn = "plotly";
  const again = () => globalThis.Plotly.react(plot, traces(data), { ...layout(data), height }, settings);
  onTheme(again);
}

whenLoaded(explore);
