// What the pages that can be played with share: data, elements, theme, numbers, the address.
// Classic scripts, one global object: a page opened as a file may load nothing else.
"use strict";

window.dlt = (() => {
  const FOLDER = document.currentScript.src.replace(/[^/]*$/, "data/");
  const MINUS = "\u2212";

  // --- data -----------------------------------------------------------------------------------

  const values = new Map();
  const promises = new Map();

  /** What every data script calls. */
  function put(name, value) {
    values.set(name, value);
  }

  /** The value of data/NAME.js, loaded by a script element on first use. */
  function load(name) {
    if (!promises.has(name)) {
      promises.set(name, new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = `${FOLDER}${name}.js`;
        script.onload = () => resolve(values.get(name));
        script.onerror = () => reject(new Error(
          `The data of this page (${name}) are not in the site: build it with "dltlib book".`));
        document.head.append(script);
      }));
    }
    return promises.get(name);
  }

  /** A typed array of what dltlib.interactive.scripts.packed packed. */
  function unpack({ type, base64 }) {
    const text = atob(base64);
    const bytes = new Uint8Array(text.length);
    for (let index = 0; index < text.length; index += 1) bytes[index] = text.charCodeAt(index);
    const kinds = { float32: Float32Array, uint8: Uint8Array, uint16: Uint16Array };
    return new kinds[type](bytes.buffer);
  }

  // --- elements -------------------------------------------------------------------------------

  const SVG = "http://www.w3.org/2000/svg";

  function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (value === undefined || value === null || value === false) continue;
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return node;
  }

  /** An HTML element: attributes by name, listeners as onclick and so on, then children. */
  function html(tag, attributes = {}, ...children) {
    return fill(document.createElement(tag), attributes, children);
  }

  /** The same of SVG. */
  function svg(tag, attributes = {}, ...children) {
    return fill(document.createElementNS(SVG, tag), attributes, children);
  }

  /** Put new children into a node; what had the focus has it again (found by data-key). */
  function refill(node, ...children) {
    const key = node.contains(document.activeElement) && document.activeElement.dataset.key;
    node.replaceChildren(...children.flat().filter(Boolean));
    if (key) node.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
  }

  /** A labelled select; options are [value, text], or [group, [[value, text], ...]]. */
  function select(label, options, value, onchange) {
    const option = ([name, text]) =>
      html("option", { value: name, selected: name === value }, text);
    const items = options.map((one) => Array.isArray(one[1])
      ? html("optgroup", { label: one[0] }, one[1].map(option)) : option(one));
    return html("label", { class: "dlt-field" }, html("span", {}, label),
      html("select", { "data-key": label, onchange: (event) => onchange(event.target.value) },
        items));
  }

  function button(label, onclick, attributes = {}) {
    return html("button", { type: "button", class: "dlt-button", onclick, "data-key": label,
      ...attributes }, label);
  }

  /** Offer text as a file. */
  function download(name, text) {
    const address = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    html("a", { href: address, download: name }).click();
    URL.revokeObjectURL(address);
  }

  // --- theme ----------------------------------------------------------------------------------

  const isDark = () => document.documentElement.dataset.theme === "dark";
  const calm = () => window.matchMedia("(prefers-reduced-motion: reduce)").matches;

  /** Call back whenever the reader switches between light and dark. */
  function onTheme(callback) {
    new MutationObserver(callback).observe(document.documentElement,
      { attributes: true, attributeFilter: ["data-theme"] });
  }

  const channels = (color) => [1, 3, 5].map((start) => parseInt(color.slice(start, start + 2), 16));

  function luminance(rgb) {
    const [red, green, blue] = rgb.map((channel) => {
      const share = channel / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  }

  function contrast(one, other) {
    const [low, high] = [luminance(one), luminance(other)].sort((left, right) => left - right);
    return (high + 0.05) / (low + 0.05);
  }

  const BACKGROUNDS = { light: "#ffffff", dark: "#14181e" };

  /** The colour "#rrggbb", moved towards black or white until a line of it can be seen (3:1). */
  function readable(color, least = isDark() ? 5 : 3.2) {
    const background = channels(isDark() ? BACKGROUNDS.dark : BACKGROUNDS.light);
    const target = isDark() ? 255 : 0;
    const rgb = channels(color);
    for (let share = 0; share <= 1; share += 0.05) {
      const moved = rgb.map((channel) => Math.round(channel + (target - channel) * share));
      if (contrast(moved, background) >= least) return `rgb(${moved.join(",")})`;
    }
    return isDark() ? "#fff" : "#000";
  }

  // --- numbers --------------------------------------------------------------------------------

  /** A number with so many decimals and a true minus sign. */
  function fixed(value, decimals = 2) {
    const text = value.toFixed(decimals);
    return Number(text) === 0 ? text.replace("-", "") : text.replace("-", MINUS);
  }

  /** A share as percent with two significant digits, as the book's axes have it. */
  function percent(share) {
    const value = 100 * share;
    return `${Number(value.toPrecision(2))}`;
  }

  /** Round values that cut a range into about so many parts. */
  function ticks(low, high, count) {
    const rough = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough);
    const found = [];
    for (let index = Math.ceil(low / step - 1e-9); index * step <= high + 1e-9 * step; index += 1) {
      found.push(index * step);
    }
    return { values: found, decimals: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)
      + (step / power === 2.5 ? 1 : 0)) };
  }

  /** The share so far below which a sorted array lies, by linear interpolation. */
  function quantile(sorted, share) {
    const place = share * (sorted.length - 1);
    const below = Math.floor(place);
    const above = Math.min(below + 1, sorted.length - 1);
    return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
  }

  // --- the address ----------------------------------------------------------------------------

  /** What stands behind # in the address, as an object of strings. */
  function readAddress() {
    return Object.fromEntries(new URLSearchParams(window.location.hash.slice(1)));
  }

  /** Keep a state in the address, without a step in the history; what is empty is left out. */
  function writeAddress(state) {
    const kept = Object.entries(state).filter(([, value]) =>
      value !== undefined && value !== null && value !== "");
    const words = kept.map(([name, value]) =>
      `${name}=${encodeURIComponent(value).replace(/%2F/g, "/").replace(/%2C/g, ",")}`);
    const address = `#${words.join("&")}`;
    if (address !== window.location.hash) window.history.replaceState(null, "", address);
  }

  // --- starting -------------------------------------------------------------------------------

  /** Start a page in the elements that match, once there are any; what fails is said there. */
  function start(selector, run) {
    const begin = () => document.querySelectorAll(selector).forEach((node) => {
      Promise.resolve(run(node)).catch((error) => {
        console.error(error);
        refill(node, html("p", { class: "dlt-problem", role: "alert" }, error.message));
      });
    });
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
    else begin();
  }

  return { MINUS, put, load, unpack, html, svg, refill, select, button, download, isDark, calm,
    onTheme, readable, fixed, percent, ticks, quantile, readAddress, writeAddress, start };
})();
