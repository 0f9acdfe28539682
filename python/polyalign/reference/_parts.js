// What pages with histograms share; they have `features`, `buckets`, `listed`, `sides`, `page` and `describe`.

const STATISTICS = ["mean", "std", "min", "q10", "q25", "q50", "q75", "q90", "max", "tallest", "beyond"];
const SVG = "http://www.w3.org/2000/svg";
const tally = new Intl.NumberFormat("en-US");

// --- The numbers: see encode in _page.py.

let statistics, counts, differences, heights, offsets;

async function inflate(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function unpack(bytes) {
  const cells = features.length * buckets.length, words = cells * (1 + STATISTICS.length) + features.length * (sides ? listed.length : 0);
  const joined = new Uint8Array(words * 4);
  for (let plane = 0; plane < 4; plane++) {
    for (let word = 0; word < words; word++) joined[word * 4 + plane] = bytes[plane * words + word];
  }
  const view = new DataView(joined.buffer);
  counts = Uint32Array.from({ length: cells }, (_, cell) => view.getUint32(cell * 4, true));
  const floats = Float32Array.from({ length: words - cells }, (_, place) => view.getFloat32((cells + place) * 4, true));
  statistics = floats.subarray(0, cells * STATISTICS.length);
  differences = floats.subarray(statistics.length);
  heights = bytes.subarray(words * 4);
  offsets = [];
  let offset = 0;
  for (const feature of features) {
    offsets.push(offset);
    offset += feature.axis.bars * buckets.length;
  }
  if (heights.length !== offset) throw new Error("length");
}

/** The numbers of a feature in a bucket, or null without humans. */
function cellOf(f, b) {
  const place = f * buckets.length + b, cells = features.length * buckets.length;
  if (!counts[place]) return null;
  const cell = { f, b, count: counts[place] };
  STATISTICS.forEach((name, column) => { cell[name] = statistics[column * cells + place]; });
  const bars = features[f].axis.bars, start = offsets[f] + b * bars;
  const edges = edgesOf(features[f].axis);
  cell.heights = Array.from(heights.subarray(start, start + bars), (height) => height / 255 * cell.tallest);
  cell.shares = cell.heights.map((height, bar) => height * (edges[bar + 1] - edges[bar]) * bars);
  return cell;
}

// --- Axes: values, positions between 0 and 1, texts.

const forward = (axis, value) => axis.log ? Math.asinh(value / axis.scale) : value;
const backward = (axis, place) => axis.log ? Math.sinh(place) * axis.scale : place;
const position = (axis, value) => (forward(axis, value) - axis.low) / (axis.high - axis.low);
/** Where the bars begin and the last one ends, between 0 and 1. */
const edgesOf = (axis) => axis.places ||= axis.edges ? axis.edges.map((value) => position(axis, value))
  : Array.from({ length: axis.bars + 1 }, (_, bar) => bar / axis.bars);
const barAt = (axis, place) => Math.max(0, edgesOf(axis).findLastIndex((edge, bar) => edge <= place && bar < axis.bars));
/** How far a bar is drawn from either end of its place: few whole numbers are spikes with room between them. */
const insetOf = (axis) => axis.whole && !axis.log ? Math.max(0, (1 / axis.bars - 1 / 16) / 2) : 0;
const inside = (place) => Math.min(1, Math.max(0, place));

/** A value in the feature's own manner: whole numbers whole, shares in percent. */
function say(feature, value) {
  if (feature.unit === "share") return percent(value);
  if (feature.axis.whole && Number.isInteger(value)) return tally.format(value);
  return digits(value);
}
function digits(value) {
  const size = Math.abs(value);
  if (size >= 1e7) return value.toExponential(2);
  if (size >= 100) return tally.format(Math.round(value));
  return String(Number(value.toPrecision(3)));
}
const percent = (share) => share > 0 && share < 0.0001 ? "<0.01%" : `${Number((share * 100).toPrecision(share < 0.1 ? 2 : 3))}%`;

/** Up to `most` values to label an axis at. */
function ticksOf(axis, most) {
  const low = backward(axis, axis.low), high = backward(axis, axis.high);
  let values = [];
  if (axis.log) {
    for (const mantissas of [[1, 2, 5], [1, 3], [1], null]) {
      const steps = [];
      for (let power = Math.floor(Math.log10(axis.scale)); power <= 9; power++) {
        if (mantissas) steps.push(...mantissas.map((mantissa) => mantissa * 10 ** power));
        else if (power % 2 === 0) steps.push(10 ** power);
      }
      const grown = steps.filter((value) => value >= axis.scale * 0.999);
      values = [...grown.map((value) => -value).reverse(), 0, ...grown].filter((value) => value >= low && value <= high);
      if (values.length <= most) break;
    }
    return values;
  }
  const rough = (high - low) / (most - 1), power = 10 ** Math.floor(Math.log10(rough));
  let step = [1, 2, 5, 10].map((mantissa) => mantissa * power).find((candidate) => candidate >= rough);
  if (axis.whole) step = Math.max(1, step);
  for (let value = Math.ceil(low / step - 1e-9); value * step <= high + step * 1e-9; value++) values.push(value * step || 0);
  return values;
}

// --- Elements. Texts only ever enter the page as text.

function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  return fill(element, attributes, children);
}
function s(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") Object.entries(value).forEach(([property, set]) => element.style.setProperty(property, set));
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}
/** A name that may break after the marks that part it. */
const breakable = (name) => name.split(/(?<=[|_])/).flatMap((part, place) => place ? [h("wbr"), part] : [part]);
const id = (bucket) => h("bdi", { class: "id" }, bucket.bucket === "" ? "∅" : breakable(bucket.bucket));
const code = (feature) => h("code", {}, breakable(feature.name));

// --- Drawn only when it comes near the window, or is printed: plots, and as many labels as their box has room for.

const late = new WeakMap();
const observer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting, boundingClientRect } of entries) {
    if (!isIntersecting) continue;
    observer.unobserve(target);
    late.get(target)(boundingClientRect.width);
  }
}, { rootMargin: "50% 0px" });

function drawLate(element, drawIn) {
  late.set(element, drawIn);
  observer.observe(element);
  return element;
}

/** On paper a box may be narrower than in the window. */
const PAPER = 180;
addEventListener("beforeprint", () => {
  const elements = [...page.querySelectorAll(".plot, .ticks")];
  const widths = elements.map((element) => element.getBoundingClientRect().width);
  elements.forEach((element, place) => late.get(element)(Math.min(widths[place], PAPER)));
});
const labelAnew = () => page.querySelectorAll(".ticks").forEach((element) => observer.observe(element));
addEventListener("afterprint", labelAnew);
addEventListener("resize", labelAnew);

// --- Drawing. A plot is 1000 units wide and stretched to its box; labels are set beside it in percent.

function plot(content, tall, data, label) {
  const element = h("div", { class: "plot", role: "img", "aria-label": label, "data-f": data.f, "data-b": data.b, "data-o": data.o });
  return drawLate(element, () => {
    if (element.querySelector("svg")) return;
    element.prepend(s("svg", { viewBox: `0 0 1000 ${tall}`, preserveAspectRatio: "none", "aria-hidden": "true" }, content()));
  });
}

/** The outline of a cell's bars with their feet at `foot`, the highest possible, of height `top`, drawn `tall`. */
function barsPath(cell, top, foot, tall) {
  const { axis } = features[cell.f], edges = edgesOf(axis), inset = insetOf(axis);
  let path = `M0 ${foot}`;
  cell.heights.forEach((height, bar) => {
    if (inset) path += `V${foot}H${((edges[bar] + inset) * 1000).toFixed(1)}`;
    path += `V${(foot - Math.min(1, height / top) * tall).toFixed(1)}H${((edges[bar + 1] - inset) * 1000).toFixed(1)}`;
  });
  return `${path}V${foot}`;
}

function span(axis, low, high, attributes) {
  // A whole number is as wide as the bar around it.
  const half = axis.whole ? 0.5 - insetOf(axis) * axis.bars : 0;
  const left = inside(position(axis, low - half)) * 1000, right = inside(position(axis, high + half)) * 1000;
  return s("rect", { x: left, width: Math.max(right - left, 0.01), ...attributes });
}

function stroke(axis, value, top, foot, kind) {
  const x = inside(position(axis, value)) * 1000;
  return s("line", { x1: x, x2: x, y1: top, y2: foot, class: kind });
}

function histogram(cell, top) {
  const { axis } = features[cell.f];
  return plot(() => [
    span(axis, cell.q10, cell.q90, { y: 0, height: 100, class: "band" }),
    span(axis, cell.q25, cell.q75, { y: 0, height: 100, class: "box" }),
    s("path", { d: barsPath(cell, top || cell.tallest, 100, 96), class: "bars" }),
    s("line", { x1: 0, x2: 1000, y1: 100, y2: 100, class: "line" }),
    stroke(axis, cell.q50, 0, 100, "median"),
  ], 100, cell, describe(cell));
}

function strip(cell) {
  const { axis } = features[cell.f];
  const left = inside(position(axis, cell.min)) * 1000, right = inside(position(axis, cell.max)) * 1000;
  return plot(() => [
    s("path", { d: barsPath(cell, cell.tallest, 22, 21), class: "bars faint" }),
    s("line", { x1: left, x2: right, y1: 30, y2: 30, class: "range" }),
    span(axis, cell.q10, cell.q90, { y: 26.5, height: 7, class: "solid wide" }),
    span(axis, cell.q25, cell.q75, { y: 25, height: 10, class: "solid" }),
    stroke(axis, cell.q50, 24, 36, "median"),
  ], 36, cell, describe(cell));
}

function overlay(one, two) {
  const { axis } = features[one.f], top = Math.max(one.tallest, two.tallest);
  return plot(() => [
    s("path", { d: barsPath(one, top, 72, 70), class: "bars a" }),
    s("path", { d: barsPath(two, top, 72, 70), class: "outline" }),
    s("line", { x1: 0, x2: 1000, y1: 72, y2: 72, class: "line" }),
    ...[[one, "", 78], [two, " b", 90]].flatMap(([cell, kind, y]) => [
      span(axis, cell.q10, cell.q90, { y, height: 8, class: `solid wide${kind}` }),
      span(axis, cell.q25, cell.q75, { y, height: 8, class: `solid${kind}` }),
    ]),
    stroke(axis, one.q50, 0, 86, "median a"),
    stroke(axis, two.q50, 0, 98, "median b"),
  ], 100, { f: one.f, b: one.b, o: two.b }, `${describe(one)}; ${describe(two)}`);
}

function ticks(feature) {
  const element = h("div", { class: "ticks", "aria-hidden": "true" });
  return drawLate(element, (width) => element.replaceChildren(...labelsOf(feature, width).map(({ label, place, left, wide }) => {
    // It stays within the box: the mark beside it says where it belongs.
    const mark = `${(place * width - left) / wide * 100}%`;
    return h("span", { style: { left: `${place * 100}%`, transform: `translateX(-${mark})`, "--mark": mark } }, label);
  })));
}

const ruler = document.createElement("canvas").getContext("2d");
const APART = 7;  // pixels between labels
function widthOf(label) {
  ruler.font = `600 11.5px ${widthOf.family ||= getComputedStyle(document.body).fontFamily}`;
  return ruler.measureText(label.replace(/\d/g, "0")).width + 1;
}

/** The labels of an axis that have room in a box, at most seven: where each is, and where its text begins, in pixels. */
function labelsOf(feature, width) {
  const { axis } = feature, known = axis.labels ||= new Map();
  if (known.has(width)) return known.get(width);
  const free = (labels) => labels.filter((one, at) => at && one.left < labels[at - 1].left + labels[at - 1].wide + APART).length === 0;
  let labels = [];
  for (let most = 7; most > 1; most--) {
    labels = ticksOf(axis, most).map((value) => {
      const label = say(feature, value), place = inside(position(axis, value)), wide = widthOf(label);
      return { label, place, wide, left: Math.max(0, Math.min(width - wide, place * width - wide / 2)) };
    });
    if (free(labels)) break;
  }
  while (!free(labels)) labels = labels.filter((_, at) => at % 2 === 0);
  known.set(width, labels);
  return labels;
}

// --- What the pointer and the keys do: of the page are its `page`, `tip`, `VIEWS`, `go` and `showTip`.

/** Put the tip where there is room: its left edge, its upper edge below what it tells of, else its lower one above. */
function placeTip(left, below, above) {
  const { offsetWidth: width, offsetHeight: height } = tip;
  tip.style.left = `${Math.max(8, Math.min(left, innerWidth - width - 12))}px`;
  tip.style.top = `${below + height < innerHeight ? below : Math.max(8, above - height)}px`;
}

document.addEventListener("pointermove", showTip);
document.addEventListener("pointerdown", showTip);
document.addEventListener("scroll", () => { tip.hidden = true; }, true);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") tip.hidden = true;
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  const view = VIEWS[Number(event.key) - 1];
  if (view) go({ view });
  if (event.key === "/") {
    event.preventDefault();
    const details = page.querySelector(".picker");
    if (details) details.open = true;
    page.querySelector("input[type=search]")?.focus();
  }
});

/** How to find what has the focus again, when the page is drawn anew. */
function focusPath() {
  const element = document.activeElement;
  if (!element || !page.contains(element)) return null;
  if (element.id) return () => document.getElementById(element.id);
  if (element.dataset.key) return () => page.querySelector(`select[data-key="${element.dataset.key}"]`);
  if (element.dataset.sort) return () => page.querySelector(`button[data-sort="${element.dataset.sort}"]`);
  return element.closest(".choices") ? () => page.querySelector(".choices [aria-current=true]") : null;
}
