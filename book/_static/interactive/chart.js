// A line chart: means with intervals over rounds, seeds on hover, windows that can be dragged.
"use strict";

dlt.chart = (() => {
  const { html, svg, refill, fixed, ticks, readable } = dlt;
  const TOP = 26;
  const BOTTOM = 46;
  const LEFT = 52;
  const LABEL_HEIGHT = 14;
  const LETTER = 6.7;
  const LEAST_PLOT = 300;
  const MOST_LABELS = 14;
  const MOST_BANDS = 5;

  /** Positions, in order, at least `gap` apart and at most `end`, as near as can be to those given. */
  function spreadOut(wanted, gap, end) {
    const places = [...wanted];
    for (let index = 1; index < places.length; index += 1) {
      places[index] = Math.max(places[index], places[index - 1] + gap);
    }
    let limit = end;
    for (let index = places.length - 1; index >= 0; index -= 1) {
      places[index] = Math.min(places[index], limit);
      limit = places[index] - gap;
    }
    return places;
  }

  /** Functions between values and pixels, for "log" (falling to the right) or "linear". */
  function scale({ kind, domain }, from, to) {
    const [low, high] = domain;
    if (kind === "log") {
      const reach = Math.log(high / low) || 1;
      return {
        place: (value) => from + (to - from) * Math.log(high / value) / reach,
        value: (pixel) => high * Math.exp(-reach * (pixel - from) / (to - from)),
      };
    }
    const reach = high - low || 1;
    return {
      place: (value) => from + (to - from) * (value - low) / reach,
      value: (pixel) => low + reach * (pixel - from) / (to - from),
    };
  }

  const LOG_TICKS = [1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005, 0.0002, 0.0001];

  /**
   * Draw `spec` into `node`:
   *   series  [{ key, label, color, dashes, points: [{ x, name, mean, low, high, seeds }] }], with
   *           seeds [[name, value], ...] and low and high NaN where there is no interval;
   *   x, y    { kind, label, format }; y { label, decimals, signed, within: [least, most] that it
   *           never leaves, domain: [low, high] if it is not to follow the values };
   *   mark    a value of x to draw a line at;
   *   legend  whether to name the lines below where there is no room beside their ends;
   *   windows [{ name, label, range, stops, onchange(range) }], in units of x;
   *   title   what a screen reader says of the chart.
   */
  function draw(node, spec) {
    const width = Math.max(280, node.clientWidth);
    const height = Math.round(Math.min(430, Math.max(290, width * 0.56)));
    const longest = Math.max(0, ...spec.series.map((one) => one.label.length));
    const labels = 24 + LETTER * longest;
    const labelled = width - labels >= LEAST_PLOT && spec.series.length <= MOST_LABELS;
    const right = labelled ? labels : 14;
    const plot = { left: LEFT, right: width - right, top: TOP, bottom: height - BOTTOM };

    const points = spec.series.flatMap((one) => one.points);
    if (points.length === 0) {
      refill(node, html("p", { class: "dlt-empty" }, "Nothing to draw: choose an arm."));
      return;
    }
    const xs = points.map((point) => point.x);
    const x = scale({ kind: spec.x.kind, domain: [Math.min(...xs), Math.max(...xs)] },
      plot.left + 6, plot.right - 6);
    const values = points.flatMap((point) => [point.mean, point.low, point.high])
      .filter(Number.isFinite);
    let [low, high] = [Math.min(...values), Math.max(...values)];
    const room = 0.04 * (high - low || Math.abs(high) || 1);
    const [least, most] = spec.y.within ?? [-Infinity, Infinity];
    [low, high] = spec.y.domain ?? [Math.max(low - room, least), Math.min(high + room, most)];
    const y = scale({ kind: "linear", domain: [low, high] }, plot.bottom, plot.top);

    const layers = [
      ...axes(spec, plot, x, y, low, high),
      ...(spec.windows ?? []).map((one) => shade(one, plot, x)),
      spec.mark ? svg("line", { class: "dlt-mark", x1: x.place(spec.mark), x2: x.place(spec.mark),
        y1: plot.top, y2: plot.bottom }) : null,
      ...spec.series.map((one) => band(one, x, y)),
      ...spec.series.map((one) => line(one, x, y)),
      ...(labelled ? endLabels(spec.series, plot, x, y) : []),
    ];
    const hover = svg("g", { class: "dlt-hover" });
    const tip = html("div", { class: "dlt-tip", hidden: true });
    const spoken = html("p", { class: "dlt-spoken", "aria-live": "polite" });
    const handles = (spec.windows ?? []).flatMap((one) => grips(one, plot, x));
    const picture = svg("svg", {
      width, height, viewBox: `0 0 ${width} ${height}`, tabindex: 0, role: "group",
      class: spec.series.length > MOST_BANDS ? "is-crowded" : null,
      "aria-label": `${spec.title} Arrow keys read the values.`, "data-key": "chart",
    }, ...layers, hover, ...handles);
    listen(picture, { spec, plot, x, y, hover, tip, spoken, width });
    refill(node, picture, spec.legend && !labelled ? legend(spec.series) : null, tip, spoken);
  }

  /** A short piece of a line, as it is drawn. */
  function swatch(color, dashes) {
    return svg("svg", { width: 22, height: 8, "aria-hidden": "true" },
      svg("line", { x1: 0, x2: 22, y1: 4, y2: 4, "stroke-width": 3, stroke: readable(color),
        "stroke-dasharray": dashes.map((length) => length * 1.5).join(" ") || null }));
  }

  function legend(series) {
    return html("div", { class: "dlt-legend" }, series.map((one) =>
      html("span", { class: "dlt-chip" }, swatch(one.color, one.dashes), one.label)));
  }

  function axes(spec, plot, x, y, low, high) {
    const parts = [];
    const yTicks = ticks(low, high, 6);
    for (const value of yTicks.values) {
      const place = y.place(value);
      parts.push(
        svg("line", { class: value === 0 && spec.y.signed ? "dlt-zero" : "dlt-grid",
          x1: plot.left, x2: plot.right, y1: place, y2: place }),
        svg("text", { class: "dlt-tick", x: plot.left - 7, y: place + 4, "text-anchor": "end" },
          (spec.y.signed && value > 0 ? "+" : "") + fixed(value, yTicks.decimals)));
    }
    const ends = [x.value(plot.left + 6), x.value(plot.right - 6)].sort((one, other) => one - other);
    const xTicks = spec.x.kind === "log"
      ? LOG_TICKS.filter((value) => value >= ends[0] * 0.999 && value <= ends[1] * 1.001)
      : ticks(ends[0], ends[1], Math.min(8, (plot.right - plot.left) / 60)).values;
    let last = -Infinity;
    for (const value of xTicks) {
      const place = x.place(value);
      if (place - last < 34) continue;
      last = place;
      parts.push(
        svg("line", { class: "dlt-grid", x1: place, x2: place, y1: plot.top, y2: plot.bottom }),
        svg("text", { class: "dlt-tick", x: place, y: plot.bottom + 17, "text-anchor": "middle" },
          spec.x.format(value)));
    }
    parts.push(
      svg("text", { class: "dlt-axis", x: (plot.left + plot.right) / 2, y: plot.bottom + 38,
        "text-anchor": "middle" }, spec.x.label),
      svg("text", { class: "dlt-axis", x: 4, y: 13 }, spec.y.label));
    return parts;
  }

  const path = (places) => places.map(([left, top], index) =>
    `${index ? "L" : "M"}${left.toFixed(1)},${top.toFixed(1)}`).join("");

  function band(one, x, y) {
    const known = one.points.filter((point) => Number.isFinite(point.low));
    if (known.length < 2) return null;
    const upper = known.map((point) => [x.place(point.x), y.place(point.high)]);
    const lower = known.map((point) => [x.place(point.x), y.place(point.low)]);
    const color = readable(one.color);
    return svg("g", { class: "dlt-spread", "data-series": one.key },
      svg("path", { class: "dlt-band", d: `${path([...upper, ...lower.toReversed()])}Z`, fill: color }),
      ...[upper, lower].map((edge) =>
        svg("path", { class: "dlt-edge", d: path(edge), stroke: color })));
  }

  function line(one, x, y) {
    const places = one.points.map((point) => [x.place(point.x), y.place(point.mean)]);
    const color = readable(one.color);
    return svg("g", { class: "dlt-line", "data-series": one.key },
      svg("path", { d: path(places), stroke: color,
        "stroke-dasharray": one.dashes.map((length) => length * 1.8).join(" ") || null }),
      ...(places.length <= 30 ? places.map(([left, top]) =>
        svg("circle", { cx: left, cy: top, r: places.length === 1 ? 4.5 : 2.2, fill: color })) : []));
  }

  function endLabels(series, plot, x, y) {
    const ends = series.map((one) => ({ one, left: x.place(one.points.at(-1).x),
      top: y.place(one.points.at(-1).mean) })).sort((one, other) => one.top - other.top);
    const text = (one, left, top) => svg("text", { class: "dlt-end", x: left, y: top + 4,
      style: `fill:${readable(one.color, 4.6)}` }, one.label);
    // A line that ends early, with room for its name, is named where it ends; the others side by
    // side on the right.
    const isEarly = ({ one, left }) => left + 8 + LETTER * one.label.length < plot.right;
    const late = ends.filter((end) => !isEarly(end));
    const early = ends.filter(isEarly);
    const apart = (some) => spreadOut(some.map((end) => end.top), LABEL_HEIGHT, plot.bottom + 8);
    const [places, own] = [apart(late), apart(early)];
    return [
      ...early.map(({ one, left }, index) => text(one, left + 8, own[index])),
      ...late.flatMap(({ one, left, top }, index) => [
        svg("path", { class: "dlt-leader", stroke: readable(one.color),
          d: path([[left + 4, top], [plot.right + 9, places[index]]]) }),
        text(one, plot.right + 12, places[index]),
      ]),
    ];
  }

  // --- windows ----------------------------------------------------------------------------------

  function shade(one, plot, x) {
    const [left, right] = edges(one, plot, x);
    const half = LETTER * one.label.length / 2; // a window beyond the record is named at the edge
    const middle = Math.max(plot.left + half, Math.min(plot.right - half, (left + right) / 2));
    return svg("g", { class: "dlt-window" },
      svg("rect", { x: left, y: plot.top, width: Math.max(0, right - left),
        height: plot.bottom - plot.top }),
      svg("text", { class: "dlt-window-label", x: middle, y: plot.top + 13,
        "text-anchor": "middle" }, one.label));
  }

  /** Left and right end of a window in pixels, within the plot. */
  function edges(one, plot, x) {
    return one.range.map(x.place).sort((left, right) => left - right)
      .map((place) => Math.min(plot.right, Math.max(plot.left, place)));
  }

  function grips(one, plot, x) {
    return [0, 1].map((end) => {
      const place = Math.min(plot.right, Math.max(plot.left, x.place(one.range[end])));
      const move = (value) => {
        const range = [...one.range];
        const kept = Math.min(1, Math.max(one.stops[0], Number(value.toPrecision(2))));
        range[end] = end ? Math.max(kept, range[0]) : Math.min(kept, range[1]);
        if (range[end] !== one.range[end]) one.onchange(range);
      };
      // A key goes on to the next density that a round has: between them nothing changes.
      const step = (upwards) => {
        const further = upwards ? one.stops.find((stop) => stop > one.range[end] * 1.001)
          : one.stops.findLast((stop) => stop < one.range[end] * 0.999);
        if (further !== undefined) move(Number(further.toPrecision(2)) === one.range[end]
          ? further * (upwards ? 1.02 : 0.98) : further);
      };
      return svg("g", {
        class: "dlt-grip", transform: `translate(${place},0)`, tabindex: 0, role: "slider",
        "data-key": `${one.name}-${end}`,
        "aria-label": `${one.label}: ${end ? "highest" : "lowest"} density`,
        "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": 100 * one.range[end],
        "aria-valuetext": `${dlt.percent(one.range[end])} % of the weights`,
        onkeydown: (event) => {
          const upwards = { ArrowLeft: true, ArrowUp: true, ArrowRight: false, ArrowDown: false };
          if (!(event.key in upwards)) return;
          event.preventDefault();
          event.stopPropagation();
          step(upwards[event.key]);
        },
        onpointerdown: (event) => {
          event.preventDefault();
          event.currentTarget.focus({ preventScroll: true });
          const frame = event.currentTarget.ownerSVGElement.parentElement;
          const onmove = (moved) => move(x.value(Math.min(plot.right - 6, Math.max(plot.left + 6,
            moved.clientX - frame.getBoundingClientRect().left))));
          const stop = () => window.removeEventListener("pointermove", onmove);
          window.addEventListener("pointermove", onmove);
          window.addEventListener("pointerup", stop, { once: true });
          window.addEventListener("pointercancel", stop, { once: true });
        },
      },
      svg("rect", { class: "dlt-grip-reach", x: -14, y: plot.top, width: 28,
        height: plot.bottom - plot.top }),
      svg("line", { y1: plot.top, y2: plot.bottom }),
      svg("rect", { class: "dlt-grip-knob", x: -5, y: (plot.top + plot.bottom) / 2 - 14, width: 10,
        height: 28, rx: 5 }));
    });
  }

  // --- reading values ---------------------------------------------------------------------------

  function listen(picture, { spec, plot, x, y, hover, tip, spoken, width }) {
    const stops = [...new Map(spec.series.flatMap((one) => one.points)
      .map((point) => [Math.round(x.place(point.x)), point])).values()]
      .sort((one, other) => x.place(one.x) - x.place(other.x));
    let stop = -1;
    let chosen = spec.series[0].key;

    const at = (one, place) => one.points.find((point) => Math.abs(x.place(point.x) - place) < 1.5);

    function show(speak) {
      const place = x.place(stops[stop].x);
      const rows = spec.series.map((one) => ({ one, point: at(one, place) }))
        .filter(({ point }) => point && Number.isFinite(point.mean))
        .sort((left, right) => right.point.mean - left.point.mean);
      if (rows.length === 0) return;
      const { one, point } = rows.find((row) => row.one.key === chosen) ?? rows[0];
      hover.replaceChildren(
        svg("line", { class: "dlt-cursor", x1: place, x2: place, y1: plot.top, y2: plot.bottom }),
        ...point.seeds.map(([, value]) => svg("circle", { class: "dlt-seed", cx: place,
          cy: y.place(value), r: 4.5, stroke: readable(one.color) })),
        svg("circle", { cx: place, cy: y.place(point.mean), r: 4.5, fill: readable(one.color) }));
      picture.querySelectorAll("[data-series]").forEach((other) =>
        other.classList.toggle("is-chosen", other.dataset.series === one.key));
      const number = (value) => fixed(value, spec.y.decimals);
      const words = (its) => number(its.mean)
        + (Number.isFinite(its.low) ? ` [${number(its.low)}, ${number(its.high)}]` : "");
      tip.replaceChildren(
        html("p", { class: "dlt-tip-title" }, point.name),
        html("table", {}, html("tbody", {}, rows.slice(0, 12).map((row) =>
          html("tr", { class: row.one.key === one.key ? "is-chosen" : "" },
            html("th", { scope: "row", style: `color:${readable(row.one.color, 4.6)}` },
              row.one.label),
            html("td", {}, words(row.point)))))),
        html("p", {}, `${one.label}, seed by seed: ${point.seeds.map(([, value]) =>
          number(value)).join(", ")}`));
      tip.hidden = false;
      const half = tip.offsetWidth;
      tip.style.left = `${place + 14 + half > width ? Math.max(0, place - 14 - half) : place + 14}px`;
      tip.style.top = `${plot.top + 6}px`;
      if (speak) spoken.textContent = `${point.name}, ${one.label}: ${words(point)}`;
    }

    function hide() {
      hover.replaceChildren();
      tip.hidden = true;
      picture.querySelectorAll(".is-chosen").forEach((one) => one.classList.remove("is-chosen"));
    }

    function follow(event) {
      if (event.target.closest(".dlt-grip")) return hide();
      const frame = picture.getBoundingClientRect();
      const [left, top] = [event.clientX - frame.left, event.clientY - frame.top];
      const distance = (index) => Math.abs(x.place(stops[index].x) - left);
      stop = stops.reduce((best, _, index) => (distance(index) < distance(best) ? index : best), 0);
      const near = spec.series.map((one) => ({ one, point: at(one, x.place(stops[stop].x)) }))
        .filter(({ point }) => point)
        .sort((one, other) => Math.abs(y.place(one.point.mean) - top)
          - Math.abs(y.place(other.point.mean) - top))[0];
      if (near) chosen = near.one.key;
      return show(false);
    }

    picture.addEventListener("pointermove", follow);
    picture.addEventListener("pointerdown", follow);
    picture.addEventListener("pointerleave", hide);
    picture.addEventListener("blur", hide);
    picture.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      if (event.key === "Escape") hide();
      if (!(event.key in step) || event.target !== picture) return;
      event.preventDefault();
      const [along, across] = step[event.key];
      stop = Math.min(stops.length - 1, Math.max(0, stop + (stop < 0 ? 1 : along)));
      const keys = spec.series.filter((one) => at(one, x.place(stops[stop].x)))
        .sort((one, other) => at(other, x.place(stops[stop].x)).mean
          - at(one, x.place(stops[stop].x)).mean).map((one) => one.key);
      const place = Math.max(0, keys.indexOf(chosen)) + across;
      chosen = keys[Math.min(keys.length - 1, Math.max(0, place))];
      show(true);
    });
  }

  return { draw, swatch };
})();
