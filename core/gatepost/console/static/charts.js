// Draws each figure with data-chart: lines over time, of which the table on the same page says the same.
(() => {
  const plots = new WeakMap();
  const number = new Intl.NumberFormat("en");
  const short = new Intl.NumberFormat("en", { notation: "compact" });
  const iso = (seconds) => new Date(seconds * 1000).toISOString();
  const HEIGHT = 240;
  const DASHES = { delivered: [6, 4], failed: [2, 3] };
  const STEPS = { hour: [1, 2, 3, 6, 12, 24, 48].map((n) => n * 3600), day: [1, 2, 7, 14, 28, 91, 182, 364].map((n) => n * 86400) };
  const COUNTS = [...Array(9).keys()].flatMap((power) => [1, 2, 5].map((n) => n * 10 ** power));

  function tick(seconds, step) {
    const text = iso(seconds);
    return step === "day" || text.slice(11, 16) === "00:00" ? text.slice(5, 10) : text.slice(11, 16);
  }

  function options(chart, width) {
    const colors = getComputedStyle(document.documentElement);
    const color = (name) => colors.getPropertyValue(name).trim();
    const axis = { stroke: color("--soft"), grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line"), width: 1 } };
    return {
      width,
      height: HEIGHT,
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      scales: { y: { range: (_, min, max) => [0, Math.max(1, max) * 1.05] } },
      axes: [
        { ...axis, space: 60, incrs: STEPS[chart.step], values: (_, times) => times.map((one) => tick(one, chart.step)) },
        { ...axis, size: 56, incrs: COUNTS, values: (_, values) => values.map((one) => short.format(one)) },
      ],
      series: [
        { label: "UTC", value: (_, seconds) => (seconds == null ? "" : iso(seconds).slice(0, chart.step === "day" ? 10 : 16).replace("T", " ")) },
        ...chart.series.map((one) => ({
          label: one.name,
          stroke: color(`--series-${one.name}`) || color("--accent"),
          width: 2,
          dash: DASHES[one.name] ?? [],
          value: (_, value) => (value == null ? "" : number.format(value)),
        })),
      ],
    };
  }

  function draw(figure, anew) {
    const place = figure.querySelector(".plot");
    const chart = JSON.parse(figure.dataset.chart);
    const data = [chart.times, ...chart.series.map((one) => one.values)];
    const known = plots.get(place);
    if (known && !anew) return known.setData(data);
    if (known) known.destroy();
    else new ResizeObserver(() => plots.get(place).setSize({ width: place.clientWidth, height: HEIGHT })).observe(place);
    plots.set(place, new uPlot(options(chart, place.clientWidth), data, place));
  }

  function drawAll(anew) {
    document.querySelectorAll("figure[data-chart]").forEach((figure) => draw(figure, anew));
  }

  drawAll(false);
  // The element with the drawing stays over a refresh, and gets the new data.
  document.addEventListener("htmx:afterSwap", () => drawAll(false));
  // The colours are those of the scheme.
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll(true));
})();
