
// The course of a metric over one run or several: drawn by the server first, then explorable. Zooming asks the server for
// the detail of what is looked at; while a run goes on, new points come with the page's own updates.

const course = document.getElementById("course");
const HUES = [["--c1", "solid"], ["--c2", "5px,3px"], ["--c3", "8px,3px,2px,3px"], ["--c4", "2px,3px"], ["--c5", "solid"]];

function courseData() {
  return JSON.parse(document.getElementById("course-data").textContent);
}

function courseLines(data) {
  const many = data.lines.length > HUES.length;
  return data.lines.map((line, at) => {
    const [hue, dash] = HUES[at] ?? ["--ref", "solid"];
    const x = data.over === "time" ? line.seconds : line.steps;
    return { x, y: line.values, name: line.name, mode: x.length > 1 ? "lines" : "markers", connectgaps: false,
      line: { color: colour(hue), width: many && at >= HUES.length ? 1.25 : 2, dash }, marker: { color: colour(hue), size: 7 },
      hovertemplate: many ? "%{y:.5~g} at %{x}<extra>%{fullData.name}</extra>" : "%{y:.5~g}" };
  }).reverse();
}

function courseLayout(data, height) {
  const ink = colour("--ink"), ink3 = colour("--ink-3"), edge = colour("--edge");
  const font = { family: getComputedStyle(document.body).fontFamily, size: 12, color: ink3 };
  const axis = { linecolor: edge, tickcolor: edge, ticks: "outside", ticklen: 4, showline: true, zeroline: false };
  return {
    font, height, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, dragmode: "zoom", autosize: true,
    hovermode: data.lines.length > HUES.length ? "closest" : "x unified", uirevision: data.metric + data.over,
    margin: { l: 64, r: 16, t: 8, b: 40 },
    hoverlabel: { bgcolor: colour("--surface"), bordercolor: colour("--line"), font: { ...font, color: ink }, namelength: 40 },
    xaxis: { ...axis, gridcolor: "rgba(0,0,0,0)", title: { text: data.over === "time" ? "seconds since the run began" : "step", font }, tickformat: ",~r" },
    yaxis: { ...axis, gridcolor: colour("--grid"), type: data.log ? "log" : "linear", exponentformat: "power", fixedrange: true },
  };
}

function rangeAsked(change, plot) {
  if (change["xaxis.autorange"] || change.autosize) return null;
  const [low, high] = plot.layout.xaxis.range ?? [];
  return low === undefined ? null : [low, high];
}

// The steps under a range of seconds differ from run to run, so a range of time asks each run for the steps it spans there.
function stepsUnder(data, [low, high]) {
  if (data.over !== "time") return [Math.floor(low), Math.ceil(high)];
  const steps = data.lines.flatMap((line) => {
    const first = line.seconds.findLastIndex((at) => at <= low), last = line.seconds.findIndex((at) => at >= high);
    return [line.steps[Math.max(0, first)], line.steps[last < 0 ? line.steps.length - 1 : last]];
  }).filter((step) => step !== undefined);
  return [Math.min(...steps), Math.max(...steps)];
}

async function detailOf(data, range) {
  const [start, end] = stepsUnder(data, range);
  const asked = new URLSearchParams([...data.lines.map((line) => ["run", line.run]), ["key", data.metric], ["start", start], ["end", end], ["count", "1000"]]);
  const answer = await fetch(`/api/v1/curves?${asked}`);
  if (!answer.ok) return null;
  const found = new Map((await answer.json()).curves.map((curve) => [curve.run, curve]));
  return { ...data, lines: data.lines.map((line) => ({ ...line, ...(found.get(line.run) ?? { steps: [], seconds: [], values: [] }) })) };
}

async function exploreCourse() {
  if (!course?.dataset.script || !roomy.matches) return;
  let data = courseData(), shown = data, asking = 0;
  holdPlace(course.dataset.styleId);
  await load(course.dataset.script);
  const drawn = [...course.querySelectorAll("svg.chart")].find((one) => one.getClientRects().length);
  const height = Math.round(drawn?.getBoundingClientRect().height ?? 300);
  const plot = document.createElement("div");
  plot.className = "plot";
  plot.setAttribute("role", "img");
  plot.setAttribute("aria-label", drawn?.getAttribute("aria-label") ?? "");
  course.append(plot);
  const settings = { displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: "reset" };
  await globalThis.Plotly.newPlot(plot, courseLines(data), courseLayout(data, height), settings);
  for (const one of course.querySelectorAll("svg.chart")) one.setAttribute("hidden", "");
  course.dataset.drawn = "plotly";
  const again = () => globalThis.Plotly.react(plot, courseLines(shown), courseLayout(shown, height), settings);
  plot.on("plotly_relayout", async (change) => {
    if (!Object.keys(change).some((name) => name.startsWith("xaxis"))) return;
    const range = rangeAsked(change, plot), mine = ++asking;
    const thinned = data.lines.some((line) => line.steps.length < line.points);
    const detail = range && thinned ? await detailOf(data, range) : null;
    if (mine !== asking) return;
    shown = detail ?? data;
    course.dataset.points = String(shown.lines.reduce((sum, line) => sum + line.steps.length, 0));
    course.dataset.zoomed = range ? "yes" : "";
    again();
  });
  onTheme(again);
  document.addEventListener("kedge-fresh", () => {
    const fresh = courseData();
    if (JSON.stringify(fresh) === JSON.stringify(data)) return;
    data = fresh;
    if (!course.dataset.zoomed) { shown = data; again(); }
  });
}

whenLoaded(exploreCourse);
