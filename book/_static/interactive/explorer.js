// The explorer: any record as curves, any claim with its window and its bars to drag.
//
// The address after # keeps what is shown (book/explorer.md documents it for those who link here):
//   claim=signs-1&network=fc[&preset=tiny]    a claim, by the scorecard's records or by those of
//                                             a preset; window names and bar1, bar2, ... if changed
//   experiment=signs&network=fc&preset=cpu    a record, the largest such; arms, metric, against
//   record=signs-fc-cpu                       (the reference arm); or a record by its name
"use strict";

dlt.start("#dlt-explorer", async (root) => {
  const { html, svg, refill, select, button, fixed, percent, readable } = dlt;
  const verdict = dlt.verdict;
  const NETWORKS = ["fc", "conv2", "conv4", "conv6"];
  const ALL = "all";
  const MOST_ARMS_AT_FIRST = 10;
  const BADGES = { reproduced: "yes", "not reproduced": "no", undecided: "open",
    "not measured": "none" };

  const index = await dlt.load("records/index");
  const limits = Object.fromEntries(
    Object.entries(index.thresholds).map(([name, one]) => [name, one.value]));
  const byName = new Map(index.records.map((one) => [one.name, one]));
  if (byName.size === 0) throw new Error("There is no record in this copy of the book.");

  let state = dlt.readAddress();
  let record = null; // the one that is drawn, null where a claim has none
  let claim = null; // the data of the claim, null while a record is looked at

  const parts = Object.fromEntries(["choice", "claim", "arms", "chart", "comparisons", "foot"]
    .map((name) => [name, html("div", { class: `dlt-${name}` })]));
  refill(root, Object.values(parts));

  // --- what is chosen ---------------------------------------------------------------------------

  const first = (found, wanted) => (found.includes(wanted) ? wanted : found[0]);
  const unique = (found) => [...new Set(found)];
  const inOrder = (order) => (one, other) => order.indexOf(one) - order.indexOf(other);

  /** Make the state name things that exist, and load them; false if it was replaced meanwhile. */
  async function settle() {
    const own = state;
    const described = index.claims.find((one) => one.id === own.claim);
    let found = null;
    if (described && Object.keys(described.scopes).length) {
      own.network = first(Object.keys(described.scopes), own.network);
      const files = described.scopes[own.network];
      own.preset = first(Object.keys(files), own.preset);
      found = { ...await dlt.load(`claims/${files[own.preset]}`), described };
      own.record = found.records.includes(own.record) ? own.record : mainRecord(found);
    } else {
      delete own.claim;
      if (!byName.has(own.record)) {
        const experiments = unique(index.records.map((one) => one.experiment));
        own.experiment = first(experiments, own.experiment ?? "criteria");
        const networks = unique(ofExperiment(own.experiment).map((one) => one.network));
        own.network = first(networks.sort(inOrder(NETWORKS)), own.network);
        const there = alike(own.experiment, own.network);
        own.record = (there.find((one) => one.preset === own.preset) ?? there[0]).name;
      }
      const { experiment, network, preset } = byName.get(own.record);
      Object.assign(own, { experiment, network, preset });
    }
    const drawn = own.record ? await dlt.load(`records/${own.record}`) : null;
    if (own !== state) return false;
    [claim, record] = [found, drawn];
    const columns = Object.keys(record?.columns ?? {});
    state.metric = first(columns, state.metric ?? claim?.metric ?? "test_accuracy");
    if (!record?.arms.some((arm) => arm.name === state.against)) delete state.against;
    return true;
  }

  /** Of a claim's records the one of which most arms are compared, so that there is most to see. */
  const mainRecord = ({ records, arms }) =>
    records.toSorted((one, other) => arms[other].length - arms[one].length)[0];
  const ofExperiment = (name) => index.records.filter((one) => one.experiment === name);
  /** The records of an experiment on a network, the largest first. */
  const alike = (experiment, network) =>
    ofExperiment(experiment).filter((one) => one.network === network);

  /** The arms drawn: those that the address names, or those of the claim, or the first few. */
  function chosenArms() {
    const named = (state.arms ?? "").split(",").filter((name) =>
      record.arms.some((arm) => arm.name === name));
    if (state.arms !== undefined) return named;
    if (claim?.arms[record.name].length) return claim.arms[record.name];
    const names = record.arms.map((arm) => arm.name);
    if (names.length <= MOST_ARMS_AT_FIRST) return names;
    return names.filter((name) => name.endsWith("/initial/plain")).slice(0, MOST_ARMS_AT_FIRST);
  }

  function change(changes) {
    state = { ...state, ...changes };
    return refresh();
  }

  /** What was set by hand belongs to what was shown then. */
  function forget(...kept) {
    state = Object.fromEntries(Object.entries(state).filter(([name]) => kept.includes(name)));
  }

  async function refresh() {
    if (!await settle()) return; // another choice was made meanwhile
    write();
    drawChoice();
    drawArms();
    drawClaim();
    drawChart();
    drawFoot();
  }

  function write() {
    const { claim: id, network, preset, record: name, experiment, ...rest } = state;
    const main = claim ? { claim: id, network } : { experiment, network, preset };
    if (claim && preset !== Object.keys(claim.described.scopes[network])[0]) main.preset = preset;
    const usual = claim ? mainRecord(claim)
      : alike(experiment, network).find((one) => one.preset === preset).name;
    if (name !== usual) main.record = name;
    const { metric, ...others } = rest;
    if (metric !== (claim?.metric ?? "test_accuracy")) main.metric = metric;
    dlt.writeAddress({ ...main, ...others });
  }

  // --- choosing ---------------------------------------------------------------------------------

  const networkName = (name) => ({ fc: "FC", conv2: "Conv2", conv4: "Conv4", conv6: "Conv6",
    [ALL]: "all four, compared" })[name] ?? name;

  function drawChoice() {
    const claims = [["", "none: look at a record"],
      ...index.claims.filter((one) => Object.keys(one.scopes).length)
        .map((one) => [one.id, `${one.id}: ${one.sentence}`])];
    const experiments = unique(index.records.map((one) => one.experiment))
      .map((name) => [name, `${name}: ${index.titles[name] ?? "other runs"}`]);
    const networks = claim ? Object.keys(claim.described.scopes)
      : unique(ofExperiment(state.experiment).map((one) => one.network)).sort(inOrder(NETWORKS));
    const presets = claim ? Object.keys(claim.described.scopes[state.network]) : [];
    const names = claim ? claim.records
      : alike(state.experiment, state.network).map((one) => one.name);
    const metrics = Object.keys(record?.columns ?? {})
      .map((name) => [name, index.metrics[name][0]]);
    const arms = [["", "nothing"],
      ...(record?.arms ?? []).map((arm) => [arm.name, `${arm.label}, seed by seed`])];
    refill(parts.choice,
      select("Claim", claims, state.claim ?? "", (id) => {
        forget("network");
        return change(id ? { claim: id } : { experiment: record?.experiment });
      }),
      claim ? null : select("Experiment", experiments, state.experiment, (experiment) => {
        forget("network", "preset");
        return change({ experiment });
      }),
      select("Network", networks.map((name) => [name, networkName(name)]), state.network,
        (network) => {
          forget("claim", "experiment", "metric", "arms", "against", "confidence");
          return change({ network });
        }),
      claim ? select("Judged by", presets.map((name, place) =>
        [name, place || !claim.records.length ? name : `${name}: the scorecard's records`]),
      state.preset, (preset) => change({ preset, record: undefined })) : null,
      !claim || names.length > 1 ? select(claim ? "Record drawn" : "Record",
        names.map((name) => [name, `${byName.get(name).words} (${name})`]), state.record,
        (name) => {
          if (claim) {
            delete state.arms;
            delete state.metric;
          }
          return change({ record: name });
        }) : null,
      record ? select("Drawn", metrics, state.metric, (metric) => change({ metric })) : null,
      record ? select("Against", arms, state.against ?? "", (against) =>
        change({ against: against || undefined })) : null,
      claim ? select("Confidence", ["0.8", "0.9", "0.95", "0.99"].map((value) =>
        [value, `${100 * value} %`]), state.confidence ?? String(limits.confidence),
      (confidence) => change({
        confidence: Number(confidence) === limits.confidence ? undefined : confidence })) : null);
  }

  function drawArms() {
    if (!record) return refill(parts.arms);
    const chosen = chosenArms();
    const set = (names) => change({ arms: names.join(",") });
    const chips = record.arms.map((arm) => {
      const on = chosen.includes(arm.name);
      return html("label", { class: "dlt-chip" },
        html("input", { type: "checkbox", checked: on, "data-key": `arm ${arm.name}`,
          onchange: () => set(record.arms.map((one) => one.name)
            .filter((name) => (name === arm.name ? !on : chosen.includes(name)))) }),
        dlt.chart.swatch(arm.color, arm.dashes), arm.label);
    });
    return refill(parts.arms, html("fieldset", {}, html("legend", {}, "Arms"),
      html("div", {}, button("All", () => set(record.arms.map((arm) => arm.name)),
        { class: "dlt-link" }), button("None", () => set([]), { class: "dlt-link" })),
      html("div", { class: "dlt-chips" }, chips)));
  }

  // --- curves -----------------------------------------------------------------------------------

  /** Factor from what the record holds to what is drawn: shares become percent. */
  const factor = () => (index.metrics[state.metric][1] === "%" ? 100 : 1);

  function series() {
    const place = (name) => record.arms.findIndex((arm) => arm.name === name);
    const column = record.columns[state.metric];
    const against = state.against ? column[place(state.against)] : null;
    const chosen = chosenArms();
    const short = shortened(chosen.map((name) => record.arms[place(name)].label));
    return chosen.map((name, number) => {
      const arm = record.arms[place(name)];
      const label = short[number];
      const points = record.rounds.flatMap((round, at) => {
        const seeds = record.seed_names.flatMap((seed, row) => {
          const own = column[place(name)][row][at];
          const other = against ? against[row][at] : 0;
          return own === null || other === null ? [] : [[seed, factor() * (own - other)]];
        });
        const densities = record.columns.density[place(name)].map((row) => row[at])
          .filter((value) => value !== null);
        if (seeds.length === 0 || densities.length === 0) return [];
        const density = densities.reduce((sum, value) => sum + value, 0) / densities.length;
        const { mean, low, high } = verdict.interval(seeds.map(([, value]) => value),
          confidence());
        return [{ x: record.epochs_across ? round : density, mean, low, high, seeds,
          name: record.epochs_across ? `Epoch ${round}`
            : `Round ${round}, ${percent(density)} % of the weights left` }];
      });
      return { key: name, label, color: arm.color, dashes: arm.dashes, points };
    }).filter((one) => one.points.length);
  }

  /** Labels without the parts that are the same in all of them. */
  function shortened(labels) {
    const names = labels.map((label) => label.split(" / "));
    const differs = (part, place) => names.some((name) => name[place] !== part);
    return names.map((name) => name.filter(differs).join(" / ") || name[0]);
  }

  const confidence = () => Number(state.confidence ?? limits.confidence);

  function metricLabel() {
    const [label, unit] = index.metrics[state.metric];
    const against = record.arms.find((arm) => arm.name === state.against);
    if (against) return `${label}: less ${against.label}${unit ? ", points" : ""}`;
    return unit ? `${label}, ${unit}` : label;
  }

  function drawChart() {
    if (!record) return refill(parts.chart);
    const [, unit] = index.metrics[state.metric];
    const whole = state.metric === "early_iteration";
    return dlt.chart.draw(parts.chart, {
      title: `${metricLabel()} of ${record.name}.`,
      series: series(),
      x: record.epochs_across
        ? { kind: "linear", label: "Epochs of learning the mask", format: String }
        : { kind: "log", label: "Weights left, % (log scale)", format: percent },
      y: { label: metricLabel(), decimals: whole ? 0 : unit ? 2 : 3, signed: Boolean(state.against),
        within: state.against || unit !== "%" ? null : [0, 100] },
      windows: record.epochs_across ? [] : windows(),
    });
  }

  // --- the claim --------------------------------------------------------------------------------

  const rangeOf = (name) => (state[name] ? state[name].split("-").map(Number) : limits[name]);

  function windows() {
    const names = unique((claim?.comparisons ?? []).map((one) => one.window).filter(Boolean));
    return names.map((name) => ({
      name,
      label: name.replace("_", " "),
      range: rangeOf(name),
      stops: claim.comparisons.find((one) => one.window === name).densities,
      onchange: (range) => {
        state[name] = range.join("-");
        if (state[name] === limits[name].join("-")) delete state[name];
        update();
      },
    }));
  }

  /** After a drag: nothing has to be loaded. */
  function update() {
    write();
    drawClaim();
    drawChart();
  }

  function judged(changed) {
    return claim.comparisons.map((one, place) => {
      const window = changed && one.window && state[one.window] ? rangeOf(one.window) : null;
      const own = changed && state[`bar${place + 1}`];
      const entry = verdict.entryOf(one, window);
      const part = verdict.judge(entry, own ? Number(own) : one.bar,
        { ...limits, confidence: changed ? confidence() : limits.confidence });
      const [low, high] = verdict.ends(part, one.unit);
      return { one, place, entry, ...part, low, high };
    });
  }

  const badge = (words) => html("span", { class: `dlt-badge is-${BADGES[words]}` }, words);

  function drawClaim() {
    root.classList.toggle("has-claim", Boolean(claim));
    if (!claim) {
      refill(parts.claim);
      refill(parts.comparisons);
      return;
    }
    const stated = judged(false);
    const now = judged(true);
    const before = verdict.outcome(verdict.combine(stated), stated);
    const after = verdict.outcome(verdict.combine(now), now);
    const touched = Object.keys(state).some((name) => /^bar\d+$/.test(name) || limits[name]);
    refill(parts.claim,
      html("p", { class: "dlt-sentence" },
        html("strong", {}, `${claim.claim}, ${networkName(claim.network)}: `),
        `${claim.described.sentence}.`),
      html("p", { class: "dlt-verdict", "aria-live": "polite" },
        touched ? "As set here: " : "Verdict: ", badge(after),
        touched ? html("span", { class: "dlt-muted" }, ` as stated: ${before}`) : null,
        touched ? button("Back to what is stated", () => {
          forget("claim", "network", "preset", "record", "arms", "metric", "against");
          return refresh();
        }) : null),
      html("p", { class: "dlt-muted" }, `As stated: ${claim.described.reading}`),
      html("p", { class: "dlt-muted" }, claim.records.length ? "By " : "No record to judge it by.",
        claim.records.flatMap((name, place) => [place ? "; " : "",
          html("a", { href: `#record=${name}`, "data-key": `basis ${name}` }, name),
          `: ${byName.get(name).words}`])));
    drawComparisons(now);
  }

  /** Comparisons of one unit share one axis. */
  function axisOf(rows) {
    const values = rows.flatMap((row) => [row.effect, row.low, row.high, row.bar, 0,
      ...(row.entry.values ?? [])]).filter(Number.isFinite);
    const least = Math.min(...values);
    const most = Math.max(...values);
    const room = 0.06 * (most - least || 1);
    return [least - room, most + room];
  }

  let axis = {}; // kept while a bar is dragged, so that it does not move under the pointer
  let dragging = false;

  function drawComparisons(rows) {
    if (!dragging) {
      axis = Object.fromEntries(unique(rows.map((row) => row.one.unit)).map((unit) =>
        [unit, axisOf(rows.filter((row) => row.one.unit === unit))]));
    }
    refill(parts.comparisons,
      html("p", { class: "dlt-heading" }, "What it comes down to"),
      rows.some((row) => isMeasured(row.one)) ? html("p", { class: "dlt-muted" },
        `One line for each comparison: the mean over seeds, its ${100 * confidence()} % interval, `
        + "single seeds as dots. It has to lie above the threshold, which can be dragged, or moved with "
        + "the arrow keys.") : null,
      html("ul", { class: "dlt-rows" }, rows.map((row) => html("li", {},
        html("div", { class: "dlt-row-head" }, html("span", {}, row.one.name),
          badge(verdict.outcome(row.verdict, [row]))),
        isMeasured(row.one) ? strip(row, axis[row.one.unit]) : null,
        html("div", { class: "dlt-muted" }, inWords(row))))));
  }

  /** Whether any window gives a comparison a number, so that there is a bar to drag. */
  const isMeasured = (one) => [one.stated, ...one.entries].some((entry) => entry.values?.length);

  function inWords({ one, entry, effect, low, high, bar, reason, seeds }) {
    const words = [];
    if (Number.isFinite(effect)) {
      const ends = Number.isFinite(low) ? ` [${fixed(low)}, ${fixed(high)}]` : "";
      words.push(`${fixed(effect)}${ends} ${one.unit}, ${seeds} seeds`);
    }
    if (Number.isFinite(bar)) {
      const margin = Array.isArray(one.bar) && entry.level !== null && entry.level !== undefined
        ? ` (stated: ${fixed(verdict.barOf(one.bar, entry.level))}, the smaller of `
          + `${percent(one.bar[0])} % of the error and ${one.bar[1]} point${one.bar[1] === 1 ? "" : "s"})` : "";
      words.push(`threshold ${fixed(bar)}${margin}`);
    }
    if (one.paper !== null) words.push(`the paper: ${fixed(one.paper, 1)}`);
    if (reason) words.push(reason);
    return words.join("; ");
  }

  function strip(row, [least, most]) {
    const width = Math.max(240, Math.min(900, parts.comparisons.clientWidth || 600));
    const height = 46;
    const x = (value) => 10 + (width - 20) * (value - least) / (most - least);
    const name = `bar${row.place + 1}`;
    const set = (value) => {
      const kept = Math.min(most, Math.max(least, value));
      state[name] = kept.toFixed(2);
      update();
    };
    const color = readable(claimColor(row.verdict));
    const marks = Number.isFinite(row.effect) ? [
      ...(row.entry.values ?? []).map((value) =>
        svg("circle", { class: "dlt-seed", cx: x(value), cy: 17, r: 3.5, stroke: color })),
      Number.isFinite(row.low) ? svg("line", { x1: x(row.low), x2: x(row.high), y1: 17, y2: 17,
        stroke: color, "stroke-width": 3 }) : null,
      svg("circle", { cx: x(row.effect), cy: 17, r: 5, fill: color }),
    ] : [];
    const scaleTicks = dlt.ticks(least, most, Math.max(3, width / 90));
    return svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group",
      "aria-label": row.one.name },
    ...scaleTicks.values.map((value) => svg("g", {},
      svg("line", { class: Math.abs(value) < 1e-9 ? "dlt-zero" : "dlt-grid", x1: x(value),
        x2: x(value), y1: 4, y2: 30 }),
      svg("text", { class: "dlt-tick", x: Math.min(width - 12, Math.max(12, x(value))), y: 43,
        "text-anchor": "middle" }, fixed(value, scaleTicks.decimals)))),
    ...marks,
    Number.isFinite(row.bar) ? svg("g", {
      class: "dlt-grip", transform: `translate(${x(row.bar)},0)`, tabindex: 0, role: "slider",
      "data-key": name, "aria-label": `threshold of: ${row.one.name}`,
      "aria-valuemin": least.toFixed(2), "aria-valuemax": most.toFixed(2),
      "aria-valuenow": row.bar.toFixed(2), "aria-valuetext": `${fixed(row.bar)} ${row.one.unit}`,
      onkeydown: (event) => {
        const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 };
        if (!(event.key in steps)) return;
        event.preventDefault();
        set(row.bar + steps[event.key] * (event.shiftKey ? 1 : 0.1));
      },
      onpointerdown: (event) => {
        event.preventDefault();
        event.currentTarget.focus({ preventScroll: true });
        dragging = true;
        const onmove = (moved) => {
          const frame = parts.comparisons.querySelector(`[data-key="${name}"]`)
            .ownerSVGElement.getBoundingClientRect();
          set(least + (most - least) * ((moved.clientX - frame.left) * width / frame.width - 10)
            / (width - 20));
        };
        const stop = () => {
          dragging = false;
          window.removeEventListener("pointermove", onmove);
          update();
        };
        window.addEventListener("pointermove", onmove);
        window.addEventListener("pointerup", stop, { once: true });
        window.addEventListener("pointercancel", stop, { once: true });
      },
    },
    svg("rect", { class: "dlt-grip-reach", x: -14, y: 0, width: 28, height: 34 }),
    svg("line", { y1: 2, y2: 32 }),
    svg("rect", { class: "dlt-grip-knob", x: -5, y: 9, width: 10, height: 16, rx: 5 })) : null);
  }

  function claimColor(words) {
    return { yes: "#00805f", no: "#c04a00", open: "#777777" }[BADGES[words]];
  }

  // --- below ------------------------------------------------------------------------------------

  function csv() {
    const rows = series().flatMap((one) => one.points.flatMap((point) =>
      point.seeds.map(([seed, value]) => [one.key, seed, point.x, value])));
    const head = ["arm", "seed", record.epochs_across ? "epoch" : "density",
      state.metric + (factor() === 100 ? "_percent" : "") + (state.against ? "_difference" : "")];
    return [head, ...rows].map((row) => row.join(",")).join("\n") + "\n";
  }

  function drawFoot() {
    refill(parts.foot,
      record ? html("p", { class: "dlt-muted" }, record.provenance, " Remake: ",
        html("code", {}, record.command)) : null,
      html("div", { class: "dlt-buttons" },
        record ? button("These curves as CSV", () =>
          dlt.download(`${record.name}-${state.metric}.csv`, csv())) : null,
        button("Copy a link to this view", async (event) => {
          const pressed = event.currentTarget;
          await navigator.clipboard.writeText(window.location.href);
          pressed.textContent = "Copied";
        })));
  }

  // --- starting ---------------------------------------------------------------------------------

  const redraw = () => {
    if (!claim && !record) return; // nothing is loaded yet
    drawArms();
    drawChart();
    drawClaim();
  };
  dlt.onTheme(redraw);
  let width = 0;
  new ResizeObserver(() => {
    if (root.clientWidth === width) return;
    width = root.clientWidth;
    redraw();
  }).observe(root);
  window.addEventListener("hashchange", () => {
    state = dlt.readAddress();
    refresh();
  });
  await refresh();
});
