"use strict";
(() => {
const TEXTS = {
  en: {
    overview: "Verdict", table: "Buckets", bucket: "One bucket", features: "Distributions", phrases: "Over-used phrases", answers: "Answers", method: "Method and settings",
    lead: "How far models' answers are from the humans' to the same prompts, bucket by bucket: every number with its interval, and what as many humans get.",
    models: "models", buckets: "buckets", prompts: "prompts", humans: "humans", alerts: "Alerts", noAlerts: "No bucket is further off than humans are from one another.",
    all: "Means over buckets", macro: "each bucket alike", weighted: "by number of humans", over: "means", model: "model", id: "bucket", metric: "metric", value: "value", interval: "95% interval", floor: "humans", p: "p",
    like: (n) => `like humans in ${n === 1 ? "the one bucket" : `all ${n} buckets`}, as far as these answers can tell`,
    unlike: (n, of) => n === of ? `not like humans, in ${of === 1 ? "the one bucket" : `any of ${of} buckets`}` : `not like humans in ${n} of ${of} buckets`,
    nothing: "nothing can be said: no bucket has enough answers", related: (n) => `in ${n} ${n === 1 ? "bucket" : "buckets"} answers relate to what was asked otherwise than humans' do`,
    few: (n) => `${n} ${n === 1 ? "bucket" : "buckets"} not judged`, alert: (metric, value, floor, noise, p) => `${metric} ${value}, humans ${floor}${noise} (p ${p})`, also: "also",
    better: (a, b, word, told) => `${a} is ${word} than ${b} (${told})`, neither: (a, b, word, told) => `neither ${a} nor ${b} is ${word} (${told})`, human: "more human", useful: "more useful", metricOf: (metric, model) => `${metric} of ${model}`, corrected: "corrected p", effect: "effect",
    tax: "Alignment tax", task: "task", lower: "lower is better", taxNote: "Tasks of lm-eval: score ± standard error, and below it the difference to the base model; in colour where it is more than chance.",
    axes: "By axis", frontier: "Utility and naturalness", frontierNote: "A point a bucket: F1 across, 1/(1+BNG) up; the line is each model's frontier. Up and to the right is better.",
    map: "Map of answers", mapAxes: (axes) => `Where answers lie on the two main axes of humans' features (principal components), as densities. Across: ${axes[0]}; up: ${axes[1]}.`,
    mapPca: "Where answers lie on the two main axes of the humans' vectors (principal components), as densities.",
    mapNear: (method) => `Where ${method} puts answers that are alike near one another, as densities: how far apart and how dense groups are says little.`,
    mapPoints: (n) => `A sample of ${n} answers.`, mapBy: "placed by", mapOf: "by their", maps: { pca: "PCA", tsne: "t-SNE", umap: "UMAP" }, spaces: { features: "features", encoder: "encoder's vectors" },
    find: "Find a feature", findBucket: "Find buckets", none: "Nothing matches.", noHumans: "No humans with this feature.", data: "Data (CSV)", json: "All data (JSON)",
    show: "shown", order: "order", byDifference: "largest difference first", byRows: "most humans first", byName: "by name", difference: "largest gap of the shares up to a value", median: "median",
    log: "logarithmic axis", linear: "linear axis", counted: "Unit: ", of: (n, all) => `${n} of ${all} features, those that tell models from humans most`,
    phrase: "phrase", rateModel: "model", rateHumans: "humans", odds: "log-odds", example: "where", language: "language", phrasesNote: "Words and phrases that a model says in more of its answers than humans do, by log-odds with a prior; p is corrected for their number.", noPhrases: "Nothing is over-used beyond chance.",
    worst: "furthest from humans", more: (n) => `more (${n} are left)`, middle: "in the middle", question: "asked", answer: "model's answer", humanAnswer: "human's answer", empty: "(empty)", further: (share) => `further out than ${share} of humans`, why: "why", within: "humans",
    decoding: "Decoding settings", noSettings: "not recorded: polyalign generate keeps them beside its output", formulas: "Formulas", formula: "Formula", source: "source", told: "Left out, and to be known", settings: "Evaluation", counts: "Answers", perPrompt: "answers a prompt",
    countNames: { answers: "answers", compared: "compared", prompts: "prompts", humans: "humans", empty: "empty", cut: "cut" }, colon: ": ",
    notEnough: "Not judged", judged: (n) => `n=${n} prompts`, lacking: (n, need) => `not enough (n=${n}, need ${need})`, compare: "Two models compared", one: "first", two: "second", apart: "second − first", betterModel: "better",
    bucketsCompared: "on the prompts that both answer; p by Holm's correction", theme: "Colours: light or dark", dark: "Dark", light: "Light",
    floorNote: "humans: what as many humans get; p: how often a model whose answers are humans' would be as far off, before any correction. Alerts are corrected for all buckets and metrics.",
    kinds: { utility: "Utility", faithfulness: "Faithfulness", diversity: "Diversity", fault: "Faults", critic: "Critics", judged: "Judges, detectors and people", summary: "In one number" },
    share: "share of humans", keys: (n) => `Keys: / finds, ↑ ↓ move in lists, 1–${n} change the view.`, old: "This page needs a browser of 2023 or later.", broken: "The numbers of this page are damaged.", beyond: "beyond the axis",
  },
  zh: {
    overview: "结论", table: "各桶", bucket: "单个桶", features: "分布", phrases: "过度使用的短语", answers: "回答", method: "方法与设置",
    lead: "逐桶比较模型的回答与人类对相同提示的回答：每个数字都附有区间，以及同样数量的人类所得的值。",
    models: "个模型", buckets: "个桶", prompts: "提示数", humans: "人类", alerts: "警示", noAlerts: "没有任何桶的差距超出人类彼此之间的差距。",
    all: "各桶平均", macro: "各桶同等", weighted: "按人类样本数加权", over: "平均方式", model: "模型", id: "桶", metric: "指标", value: "值", interval: "95% 区间", floor: "人类", p: "p",
    like: (n) => `在全部 ${n} 个桶中与人类相似（就这些回答所能判断）`,
    unlike: (n, of) => n === of ? `在全部 ${of} 个桶中都与人类不同` : `在 ${of} 个桶中的 ${n} 个与人类不同`,
    nothing: "无法判断：没有桶具备足够的回答", related: (n) => `在 ${n} 个桶中，回答与提问的关系和人类不同`,
    few: (n) => `${n} 个桶未作判断`, alert: (metric, value, floor, noise, p) => `${metric} ${value}，人类 ${floor}${noise}（p ${p}）`, also: "此外",
    better: (a, b, word, told) => `${a} 比 ${b} ${word}（${told}）`, neither: (a, b, word, told) => `${a} 与 ${b} 之间分不出哪个${word}（${told}）`, human: "更像人类", useful: "更有用", metricOf: (metric, model) => `${model} 的 ${metric}`, corrected: "校正后 p", effect: "效应量",
    tax: "对齐代价", task: "任务", lower: "越低越好", taxNote: "lm-eval 的任务：得分 ± 标准误，其下为与基础模型之差；超出偶然者着色。",
    axes: "按维度", frontier: "效用与自然度", frontierNote: "每点一个桶：横轴 F1，纵轴 1/(1+BNG)；折线为各模型的前沿。越靠右上越好。",
    map: "回答的分布图", mapAxes: (axes) => `回答在人类特征的两条主轴（主成分）上的密度。横轴：${axes[0]}；纵轴：${axes[1]}。`,
    mapPca: "回答在人类向量的两条主轴（主成分）上的密度。",
    mapNear: (method) => `${method} 把相似的回答放在相近位置后的密度：各群的距离与疏密意义不大。`,
    mapPoints: (n) => `抽样 ${n} 条回答。`, mapBy: "方法", mapOf: "依据", maps: { pca: "PCA", tsne: "t-SNE", umap: "UMAP" }, spaces: { features: "特征", encoder: "编码器向量" },
    find: "查找特征", findBucket: "查找桶", none: "没有匹配项。", noHumans: "没有具备此特征的人类样本。", data: "数据（CSV）", json: "全部数据（JSON）",
    show: "显示", order: "排序", byDifference: "差异最大的在前", byRows: "人类样本最多的在前", byName: "按名称", difference: "累积占比的最大差距", median: "中位数",
    log: "对数坐标轴", linear: "线性坐标轴", counted: "单位：", of: (n, all) => `${all} 项特征中最能区分模型与人类的 ${n} 项`,
    phrase: "短语", rateModel: "模型", rateHumans: "人类", odds: "对数优势比", example: "出处", language: "语言", phrasesNote: "模型比人类在更多回答中使用的词与短语，以带先验的对数优势比衡量；p 已按数量校正。", noPhrases: "没有超出偶然的过度使用。",
    worst: "离人类最远", more: (n) => `更多（还有 ${n} 条）`, middle: "居中", question: "提问", answer: "模型的回答", humanAnswer: "人类的回答", empty: "（空）", further: (share) => `比 ${share} 的人类更远`, why: "原因", within: "人类",
    decoding: "解码设置", noSettings: "未记录：polyalign generate 会把设置写在输出旁", formulas: "公式", formula: "公式", source: "来源", told: "未计入及须知", settings: "评测设置", counts: "回答", perPrompt: "每个提示的回答数",
    countNames: { answers: "回答", compared: "参与比较", prompts: "提示", humans: "人类", empty: "空回答", cut: "截断" }, colon: "：",
    notEnough: "未作判断", judged: (n) => `n=${n} 个提示`, lacking: (n, need) => `不足（n=${n}，需要 ${need}）`, compare: "两模型比较", one: "前者", two: "后者", apart: "后者 − 前者", betterModel: "更好",
    bucketsCompared: "限于两者都回答的提示；p 经 Holm 校正", theme: "配色：浅色或深色", dark: "深色", light: "浅色",
    floorNote: "人类：同样数量的人类所得的值；p：若回答出自人类，差距达到如此程度的频率（未校正）。警示已按全部桶与指标校正。",
    kinds: { utility: "效用", faithfulness: "忠实度", diversity: "多样性", fault: "缺陷", critic: "评判器", judged: "评委、检测器与人评", summary: "综合" },
    share: "人类占比", keys: (n) => `快捷键：/ 查找，↑ ↓ 在列表中移动，1–${n} 切换视图。`, old: "本页需要 2023 年以后的浏览器。", broken: "本页的数据已损坏。", beyond: "超出坐标轴",
  },
};
const about = JSON.parse(document.getElementById("about").textContent);
const page = document.getElementById("page"), tip = document.getElementById("tip");
const { features, buckets } = about;
/** Buckets of histograms: those of humans, then of each model the same ones. */
const sides = null;
let told, listed, places;
const VIEWS = ["overview", "table", "bucket", "features", "phrases", "answers", "method"];
const narrow = matchMedia("(max-width: 800px)");

<!--parts-->
// --- Words and numbers.

const text = (key) => TEXTS[state.lang][key];
/** A text that is said in both languages. */
const either = (both) => both[state.lang === "zh" ? 1 : 0];
const number = (count) => tally.format(count);
const inChinese = (kind, name) => (state.lang === "zh" && about.zh[kind][name]) || name;
const measureOf = (name) => told.measures.find((measure) => measure.name === name);
const titleOf = (measure) => state.lang === "zh" ? measure.chinese : measure.title;
const colour = (at) => `var(--m${at % 4})`;
const indexOf = (name) => told.models.findIndex((model) => model.name === name);
const dot = (at) => h("i", { class: "dot", style: { "--colour": colour(at) } });
function sayOf(measure, value) {
  if (value === null || value === undefined) return "–";
  if (measure.share) return `${(value * 100).toFixed(1)}%`;
  return Math.abs(value) < 10 ? value.toFixed(3).replace(/^-(0\.0+)$/, "$1") : digits(value);
}
const sayP = (p) => p === null || p === undefined ? "–" : p < 0.001 ? "< .001" : `= ${p.toFixed(3).replace(/^0/, "")}`;
const off = (measure, [value, , , floor]) => floor === null ? null
  : measure.better === "high" ? floor - value : measure.better === "low" ? value - floor : Math.abs(value - floor);
/** A cell of a table: the value, and below it what it means. */
function cellFor(measure, numbers) {
  const found = numbers?.[measure.name];
  if (!found) return h("span", { class: "soft" }, "–");
  const [value, low, high, floor, p] = found;
  const bad = p !== null && p < 0.01 && off(measure, found) > 0;
  return h("span", { class: bad ? "worse" : "", title: `${text("interval")} ${sayOf(measure, low)}–${sayOf(measure, high)}; ${text("floor")} ${sayOf(measure, floor)}; p ${sayP(p)}` },
    sayOf(measure, value), floor === null ? null : h("span", { class: "interval" }, `${text("floor")} ${sayOf(measure, floor)}`));
}
const has = (measure) => told.models.some((model) => model.overall[measure.name]);
const measures = () => told.measures.filter(has);
/** How many of a bucket's prompts were judged, and how many a number needs; null where that is no reason for none. */
function lacking(measure, model, name) {
  const judged = model.judged[measure.name]?.[name], needed = model.needed[measure.name];
  return judged > 0 && judged < needed ? [judged, needed] : null;
}
/** Also those that some bucket has too few judged prompts for. */
const measuresOf = (names) => told.measures.filter((measure) => names.some((name) => told.models.some((model) => model.buckets[name]?.[measure.name] || lacking(measure, model, name))));

// --- State, kept in the address so that a view can be linked to.

const USUAL = { view: VIEWS[0], bucket: null, feature: null, model: null, metric: "mmd", over: "macro", order: "byDifference", map: "pca", space: "features", sort: "", find: "", lang: null, theme: null };
const state = { ...USUAL };

function readState() {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const key of Object.keys(state)) if (given.has(key)) state[key] = given.get(key);
  if (!VIEWS.includes(state.view)) [state.view] = VIEWS;
  if (!(state.lang in TEXTS)) state.lang = (navigator.language || "").startsWith("zh") ? "zh" : "en";
  if (!["light", "dark"].includes(state.theme)) state.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}
function go(change) {
  Object.assign(state, change);
  const kept = new URLSearchParams(Object.entries(state).filter(([key, value]) => value !== USUAL[key] && value !== null));
  try { history.replaceState(null, "", `#${kept}`); } catch { /* A page within another may have no address of its own. */ }
  draw();
}

// --- Downloads.

function save(name, content, kind) {
  const link = h("a", { download: name, href: URL.createObjectURL(new Blob([content], { type: kind })) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
const csv = (rows) => rows.map((row) => row.map((cell) => {
  const plain = cell === null || cell === undefined ? "" : String(cell);
  return /[",\n]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
}).join(",")).join("\n");
const dataButton = (name, rows) => h("button", { class: "plain data", onclick: () => save(`${name}.csv`, csv(rows()), "text/csv") }, text("data"));
const figure = (title, name, rows, note) => [
  h("div", { class: "figure" }, h("h3", {}, title), rows && dataButton(name, rows)), note ? h("p", { class: "soft small" }, note) : null];
const numberRows = (numbers) => Object.entries(numbers).map(([name, found]) => [name, ...found]);
const HEAD = ["value", "low", "high", "floor", "p"];

// --- Controls.

const words = (query) => query.toLowerCase().split(/\s+/).filter(Boolean);
const matches = (query, name) => words(query).every((word) => name.toLowerCase().includes(word));
function select(key, options, value, label) {
  return h("label", {}, label, h("select", { "data-key": key, onchange: (event) => go({ [key]: event.target.value }) },
    options.map(([option, name]) => h("option", { value: option, selected: option === value }, name))));
}
function search(redraw) {
  return h("input", { type: "search", placeholder: text("findBucket"), "aria-label": text("findBucket"), value: state.find,
    oninput: (event) => { state.find = event.target.value; redraw(); } });
}
const bucketButton = (name) => h("button", { title: name, onclick: () => go({ view: "bucket", bucket: name }) }, id({ bucket: name }));
const metricHead = (measure) => h("button", { class: "metric", title: `${text("formula")}: ${either(measure.formula)}`, onclick: () => go({ view: "method", metric: measure.name }) },
  titleOf(measure), h("span", { class: "formula" }, " ƒ"));
function table(head, rows) {
  return h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, head.map(([label, kind]) => h("th", { scope: "col", class: kind || "" }, label)))),
    h("tbody", {}, rows.length ? rows.map((cells) => h("tr", {}, cells.map((cell, at) => h("td", { class: head[at][1] || "" }, cell)))) : h("tr", {}, h("td", { class: "none", colspan: head.length }, text("none"))))));
}

// --- The verdict.

const alertsOf = (name) => told.alerts.filter((alert) => alert.model === name);
function verdict(model, at) {
  const enough = Object.keys(model.buckets).length, own = alertsOf(model.name);
  const alerted = own.filter((alert) => measureOf(alert.metric).alerts > 1).length, related = own.length - alerted;
  const few = Object.keys(model.not_enough).length;
  const main = !enough ? text("nothing") : alerted ? text("unlike")(alerted, enough) : text("like")(enough);
  const key = ["mmd", "bng", "hcr", "coverage", "f1"].filter((name) => model.overall[name]).map((name) => {
    const measure = measureOf(name), [value, low, high, floor] = model.overall[name];
    return `${titleOf(measure)} ${sayOf(measure, value)}${low === null ? "" : ` [${sayOf(measure, low)}, ${sayOf(measure, high)}]`}${floor === null ? "" : `, ${text("floor")} ${sayOf(measure, floor)}`}`;
  });
  return h("li", { style: { "--colour": colour(at) } }, h("b", { class: alerted ? "worse" : enough ? "fine" : "" }, h("bdi", {}, model.name), ": ", main),
    related ? h("div", {}, text("related")(related)) : null, h("div", { class: "soft" }, key.join(" · "), few ? ` · ${text("few")(few)}` : ""));
}
function comparisons() {
  const overall = told.differences.filter((each) => each.bucket === null);
  const pairs = new Map(overall.map((each) => [`${each.one}\n${each.two}`, each]));
  return [...pairs.keys()].map((pair) => {
    const of = overall.filter((each) => `${each.one}\n${each.two}` === pair);
    const first = (names) => names.map((name) => of.find((each) => each.metric === name)).find(Boolean);
    const said = [[first(["mmd", "bng", "hcr"]), "human"], [first(["f1"]), "useful"]].filter(([each]) => each).map(([each, word]) => {
      const [other, apart] = each.better === each.one ? [each.two, -each.difference] : [each.one, each.difference];
      const title = titleOf(measureOf(each.metric)), of = each.better ? title : text("metricOf")(title, each.two);
      const details = `${of} ${apart > 0 ? "+" : ""}${apart.toFixed(3)}, ${text("corrected")} ${sayP(each.p)}`;
      return each.better ? text("better")(each.better, other, text(word), details) : text("neither")(each.one, each.two, text(word), details);
    });
    return h("li", {}, said.join("; "));
  });
}
function sayAlert(alert) {
  const measure = measureOf(alert.metric);
  const noise = alert.noise ? ` ± ${sayOf(measure, alert.noise)}` : "";
  const also = alert.also.length ? `; ${text("also")}: ${alert.also.slice(0, 5).map((name) => titleOf(measureOf(name))).join(", ")}${alert.also.length > 5 ? " …" : ""}` : "";
  return text("alert")(titleOf(measure), sayOf(measure, alert.value), sayOf(measure, alert.floor), noise, sayP(alert.p)) + also;
}
function alertList(alerts) {
  if (!alerts.length) return h("p", { class: "soft" }, text("noAlerts"));
  return h("ol", { class: "alerts" }, alerts.map((alert) => h("li", {},
    h("div", { class: "what" }, dot(indexOf(alert.model)), told.models.length > 1 ? [h("bdi", {}, alert.model), " · "] : null,
      h("button", { onclick: () => go({ view: "bucket", bucket: alert.bucket, model: alert.model }) }, id({ bucket: alert.bucket })), h("div", {}, sayAlert(alert))),
    h("div", { class: "size", role: "img", "aria-label": percent(alert.size) }, h("i", { style: { width: `${alert.size * 100}%` } })))));
}
const SMALL = ["f1", "rouge_l", "mmd", "bng", "hcr", "coverage", "precision", "distinct_2", "length_w1", "wrong_language", "looping", "empty"];
function overview() {
  const over = state.over === "weighted" ? "weighted" : "overall";
  const kept = measures().filter((measure) => SMALL.includes(measure.name) || measure.kind === "critic" || measure.main);
  kept.sort((a, b) => (SMALL.indexOf(a.name) + 99) % 99 - (SMALL.indexOf(b.name) + 99) % 99);
  const head = [[text("model"), "bucket"], [text("prompts"), "end number"], ...kept.map((measure) => [metricHead(measure), "end number"])];
  const rows = told.models.map((model, at) => [[dot(at), h("bdi", {}, model.name)], number(model.counts.prompts), ...kept.map((measure) => cellFor(measure, model[over]))]);
  const many = told.models.length > 1;
  return [
    h("ul", { class: "verdict" }, told.models.map(verdict), many ? comparisons() : null),
    ...figure(text("alerts"), "alerts", () => [["model", "bucket", "metric", "value", "floor", "noise", "p", "size"],
      ...told.alerts.map((alert) => [alert.model, alert.bucket, alert.metric, alert.value, alert.floor, alert.noise, alert.p, alert.size])]),
    alertList(told.alerts.slice(0, 40)),
    ...figure(text("all"), "means", () => [["model", "over", "metric", ...HEAD], ...told.models.flatMap((model) => ["overall", "weighted"].flatMap((name) => numberRows(model[name]).map((row) => [model.name, name === "overall" ? "macro" : name, ...row])))]),
    h("div", { class: "controls" }, select("over", [["macro", text("macro")], ["weighted", text("weighted")]], state.over, text("over"))),
    table(head, rows), h("p", { class: "soft small" }, text("floorNote")),
    many ? compared() : null, tax(), frontier(), map(),
  ];
}
function compared() {
  const rows = told.differences.filter((each) => each.bucket === null && each.p !== null && measureOf(each.metric)).map((each) => {
    const measure = measureOf(each.metric);
    return [[h("bdi", {}, each.one), " / ", h("bdi", {}, each.two)], metricHead(measure), sayOf(measure, each.difference), `${sayOf(measure, each.low)}–${sayOf(measure, each.high)}`,
      each.effect === null ? "–" : each.effect.toFixed(2), sayP(each.p), each.better ? h("bdi", { class: "fine" }, each.better) : "–"];
  });
  return h("details", {}, h("summary", {}, text("compare"), ` (${text("bucketsCompared")})`),
    table([[`${text("one")} / ${text("two")}`], [text("metric")], [text("apart"), "end number"], [text("interval"), "end number"], [text("effect"), "end number"], [text("p"), "end number"], [text("betterModel")]], rows),
    dataButton("differences", () => [["one", "two", "metric", "bucket", "difference", "low", "high", "effect", "p", "better"],
      ...told.differences.map((each) => [each.one, each.two, each.metric, each.bucket, each.difference, each.low, each.high, each.effect, each.p, each.better])]));
}
function tax() {
  if (!told.tasks) return null;
  const { models, rows } = told.tasks, at = (name) => Math.max(0, indexOf(name));
  const cell = (row, value) => {
    if (!value) return "–";
    const [number, error, apart, beyond] = value;
    return [number.toFixed(3), h("span", { class: "interval" }, error === null ? "" : `± ${error.toFixed(3)}`),
      apart === null ? null : h("span", { class: `interval ${beyond ? (apart > 0) === row.higher ? "fine" : "worse" : ""}` }, `${apart > 0 ? "+" : ""}${apart.toFixed(3)}`)];
  };
  return [...figure(text("tax"), "tasks", () => [["task", "metric", "model", "value", "standard error", "difference to base", "beyond chance"],
    ...rows.flatMap((row) => row.values.map((value, place) => [row.task, row.metric, models[place], ...(value || [])]))], text("taxNote")),
    table([[text("task"), "bucket"], ...models.map((name) => [[indexOf(name) < 0 ? null : dot(at(name)), h("bdi", {}, name)], "end number"])],
      rows.map((row) => [[h("bdi", {}, row.task), " ", h("code", {}, row.metric), row.higher ? null : ` (${text("lower")})`], ...row.values.map((value) => cell(row, value))]))];
}
function frontier() {
  const points = told.models.map((model) => Object.entries(model.buckets).filter(([, numbers]) => numbers.f1 && numbers.bng)
    .map(([bucket, numbers]) => ({ bucket, x: numbers.f1[0], y: 1 / (1 + numbers.bng[0]) })));
  if (!points.flat().length) return null;
  const most = Math.max(0.05, ...points.flat().map((point) => point.x)), least = Math.min(0.9, ...points.flat().map((point) => point.y));
  const x = (value) => 44 + value / most * 570, y = (value) => 300 - (value - least) / (1 - least) * 280;
  const lines = points.map((of) => {
    const edge = [];
    for (const point of [...of].sort((a, b) => b.x - a.x || b.y - a.y)) if (!edge.length || point.y > edge.at(-1).y) edge.push(point);
    return edge;
  });
  const name = `${text("frontier")}: F1, 1/(1+BNG)`;
  return [...figure(text("frontier"), "frontier", () => [["model", "bucket", "f1", "naturalness"], ...points.flatMap((of, at) => of.map((point) => [told.models[at].name, point.bucket, point.x, point.y]))], text("frontierNote")),
    modelLegend(false),
    s("svg", { class: "chart", viewBox: "0 0 640 330", role: "img", "aria-label": name },
      s("line", { class: "axis", x1: 44, x2: 614, y1: 300, y2: 300 }), s("line", { class: "axis", x1: 44, x2: 44, y1: 20, y2: 300 }),
      [0, most / 2, most].map((value) => s("text", { x: x(value), y: 318, "text-anchor": "middle" }, percent(value))),
      [least, (least + 1) / 2, 1].map((value) => s("text", { x: 38, y: y(value) + 4, "text-anchor": "end" }, value.toFixed(2))),
      lines.map((of, at) => s("path", { style: { "--colour": colour(at) }, d: of.map((point, place) => `${place ? "L" : "M"}${x(point.x).toFixed(1)} ${y(point.y).toFixed(1)}`).join("") })),
      points.map((of, at) => of.map((point) => s("circle", { style: { "--colour": colour(at) }, cx: x(point.x), cy: y(point.y), r: 4 }, s("title", {}, `${told.models[at].name} · ${point.bucket}: F1 ${percent(point.x)}, ${point.y.toFixed(2)}`)))))];
}
function map() {
  const there = told.maps || [], spaces = [...new Set(there.map((one) => one.space))];
  if (!there.length) return null;
  const space = spaces.includes(state.space) ? state.space : spaces[0], of = there.filter((one) => one.space === space);
  const one = of.find(({ method }) => method === state.map) || of[0], { size, grids, method } = one;
  const sideName = (side) => side ? told.models[side - 1].name : text("floor");
  const note = method === "pca" ? one.axes ? text("mapAxes")(one.axes.map((names) => names.map((name) => featureName(name)).join(", "))) : text("mapPca") : text("mapNear")(text("maps")[method]);
  return [...figure(text("map"), "map", () => [["space", "method", "side", "x", "y", "answers"], ...there.flatMap((each) => each.grids.flatMap((grid, side) =>
    grid.map((count, at) => [each.space, each.method, side ? told.models[side - 1].name : "humans", at % each.size, Math.floor(at / each.size), count]).filter((row) => row[5])))]),
    there.length > 1 ? h("div", { class: "controls" }, of.length > 1 ? select("map", of.map((each) => [each.method, text("maps")[each.method]]), method, text("mapBy")) : null,
      spaces.length > 1 ? select("space", spaces.map((name) => [name, text("spaces")[name]]), space, text("mapOf")) : null) : null,
    h("p", { class: "soft small" }, note, one.points ? ` ${text("mapPoints")(number(one.points))}` : null),
    h("div", { class: "maps" }, grids.map((grid, side) => {
      const top = Math.max(1, ...grid);
      return h("div", {}, h("div", { class: "small" }, side ? [dot(side - 1), h("bdi", {}, sideName(side))] : sideName(side)),
        s("svg", { viewBox: `0 0 ${size} ${size}`, role: "img", "aria-label": `${text("map")}: ${sideName(side)}`, style: { "--colour": side ? colour(side - 1) : "var(--bar)" } },
          grid.map((count, at) => count ? s("rect", { x: at % size, y: size - 1 - Math.floor(at / size), width: 1.02, height: 1.02, opacity: (0.15 + 0.85 * Math.sqrt(count / top)).toFixed(2) }) : null)));
    }))];
}
const modelLegend = (people) => h("div", { class: "legend" }, people ? h("span", {}, h("i", { class: "bar" }), text("floor")) : null,
  told.models.map((model, at) => h("span", {}, dot(at), h("bdi", {}, model.name))));

// --- Buckets by models.

function bucketsView() {
  const names = Object.keys(told.humans), kept = measuresOf(names);
  const measure = kept.find(({ name }) => name === state.metric) || kept[0];
  if (!measure) return h("p", { class: "none" }, text("none"));
  const cell = (model, name) => {
    const few = lacking(measure, model, name), said = model.not_enough[name] ? either(model.not_enough[name]) : few && text("lacking")(...few);
    return said ? h("span", { class: "soft small" }, said) : cellFor(measure, model.buckets[name]);
  };
  const worst = (name) => Math.max(-Infinity, ...told.models.map((model) => model.buckets[name]?.[measure.name]).filter(Boolean).map((found) => off(measure, found) ?? (measure.better === "high" ? -found[0] : found[0])));
  const columns = [
    ["id", "bucket", text("id"), (a, b) => a < b ? -1 : 1, bucketButton],
    ["humans", "end number wide", text("humans"), (a, b) => told.humans[b] - told.humans[a], (name) => number(told.humans[name])],
    ...told.models.flatMap((model, at) => [
      [`p${at}`, "end number wide", [dot(at), text("prompts")], (a, b) => (model.prompts[b] || 0) - (model.prompts[a] || 0), (name) => number(model.prompts[name] || 0)],
      [`u${at}`, "end number wide", [dot(at), "F1"], (a, b) => (model.buckets[b]?.f1?.[0] ?? -1) - (model.buckets[a]?.f1?.[0] ?? -1), (name) => sayOf(measureOf("f1"), model.buckets[name]?.f1?.[0])],
      [`m${at}`, "end number", [dot(at), titleOf(measure)], (a, b) => (model.buckets[b]?.[measure.name]?.[0] ?? -Infinity) - (model.buckets[a]?.[measure.name]?.[0] ?? -Infinity), (name) => cell(model, name)],
    ]),
  ];
  const [key, down] = state.sort.split("-"), order = columns.find(([name]) => name === key)?.[3];
  const sorted = names.sort(order ? (a, b) => (down ? -1 : 1) * order(a, b) : (a, b) => worst(b) - worst(a) || told.humans[b] - told.humans[a]);
  const body = h("tbody");
  const show = () => {
    const found = sorted.filter((name) => matches(state.find, name));
    body.replaceChildren(...found.map((name) => h("tr", {}, columns.map(([, kind, , , content]) => h("td", { class: kind }, content(name))))));
    if (!found.length) body.append(h("tr", {}, h("td", { class: "none", colspan: columns.length }, text("none"))));
  };
  show();
  return [
    h("div", { class: "controls" }, search(show), select("metric", kept.map((one) => [one.name, titleOf(one)]), measure.name, text("metric")),
      dataButton("buckets", () => [["model", "bucket", "metric", ...HEAD], ...told.models.flatMap((model) => Object.entries(model.buckets).flatMap(([name, numbers]) => numberRows(numbers).map((row) => [model.name, name, ...row])))])),
    h("p", { class: "soft small" }, h("b", {}, titleOf(measure), text("colon")), either(measure.formula)), modelLegend(false),
    h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, columns.map(([name, kind, label]) => h("th", { scope: "col", class: kind.replace("bucket", ""), "aria-sort": name === key ? (down ? "descending" : "ascending") : undefined },
      h("button", { "data-sort": name, onclick: () => go({ sort: name === key && !down ? `${name}-down` : name }) }, label, name === key ? (down ? " ▾" : " ▴") : ""))))), body)),
    h("h3", {}, text("axes")),
    told.axes.map((axis) => table([[inChinese("axes", axis)], ...told.models.map((model, at) => [[dot(at), titleOf(measure)], "end number"])],
      [...new Set(told.models.flatMap((model) => Object.keys(model.axes[axis] || {})))].map((part) => [h("bdi", {}, part), ...told.models.map((model) => cellFor(measure, model.axes[axis]?.[part]))]))),
  ];
}

// --- One bucket.

function bucketPicker() {
  const alerted = new Set(told.alerts.map((alert) => alert.bucket));
  return picker(h("bdi", {}, state.bucket), text("findBucket"), Object.keys(told.humans).sort((a, b) => alerted.has(b) - alerted.has(a) || told.humans[b] - told.humans[a])
    .map((name) => [id({ bucket: name }), alerted.has(name) ? "●" : "", name, name === state.bucket, () => go({ bucket: name })]));
}
function picker(title, hint, choices) {
  const list = h("div", { class: "choices", onkeydown: moveChoice });
  const show = (query) => {
    const found = choices.filter(([, , searched]) => matches(query, searched));
    list.replaceChildren(...found.map(([label, more, , chosen, choose]) => h("button", { "aria-current": String(chosen), onclick: choose }, label, more && h("span", { class: "soft" }, ` ${more}`))));
    if (!found.length) list.append(h("p", { class: "none" }, text("none")));
  };
  show("");
  return h("details", { class: "picker", open: !narrow.matches }, h("summary", {}, title),
    h("input", { type: "search", placeholder: hint, "aria-label": hint, oninput: (event) => show(event.target.value),
      onkeydown: (event) => { if (event.key === "ArrowDown") { event.preventDefault(); list.querySelector("button")?.focus(); } } }), list);
}
function moveChoice(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const all = [...event.currentTarget.querySelectorAll("button")];
  const next = all[all.indexOf(document.activeElement) + step];
  if (next) next.focus(); else if (step < 0) event.currentTarget.previousElementSibling.focus();
}
function bucketView() {
  const name = state.bucket, of = told.alerts.filter((alert) => alert.bucket === name);
  const few = told.models.filter((model) => model.not_enough[name]);
  const groups = Object.keys(TEXTS.en.kinds).map((kind) => [kind, measuresOf([name]).filter((measure) => measure.kind === kind)]).filter(([, kept]) => kept.length);
  const head = () => [[text("metric"), "bucket"], ...told.models.map((model, at) => [[dot(at), h("bdi", {}, model.name)], "end number"])];
  const cell = (measure, model) => {
    const found = model.buckets[name]?.[measure.name];
    const few = lacking(measure, model, name), judged = model.judged[measure.name]?.[name];
    if (few) return h("span", { class: "soft small" }, text("lacking")(...few));
    const count = judged === undefined ? null : h("span", { class: "interval" }, text("judged")(judged));
    if (!found) return ["–", count];
    return [cellFor(measure, model.buckets[name]), count, h("span", { class: "interval" }, found[1] === null ? "" : `[${sayOf(measure, found[1])},\u00a0${sayOf(measure, found[2])}]`, found[4] === null ? "" : ` p\u00a0${sayP(found[4]).replace(" ", "\u00a0")}`)];
  };
  const b = places.get(name), answers = told.answers.filter((answer) => answer.bucket === name);
  return h("div", { class: "split" }, bucketPicker(), h("section", {},
    h("h2", {}, id({ bucket: name })), h("p", { class: "lead" }, `${number(told.humans[name] || 0)} ${text("humans")}`, told.models.map((model) => ` · ${model.name}: ${number(model.prompts[name] || 0)} ${text("prompts")}`)),
    few.map((model) => h("p", { class: "back" }, h("bdi", {}, model.name), `${text("colon")}${either(model.not_enough[name])}`)),
    of.length ? alertList(of) : null,
    groups.map(([kind, kept]) => [h("h3", {}, text("kinds")[kind]), table(head(), kept.map((measure) => [metricHead(measure), ...told.models.map((model) => cell(measure, model))]))]),
    dataButton("bucket", () => [["model", "bucket", "metric", ...HEAD], ...told.models.flatMap((model) => numberRows(model.buckets[name] || {}).map((row) => [model.name, name, ...row]))]),
    phraseTables(told.phrases.filter((each) => each.bucket === name)),
    answers.length ? [h("h3", {}, text("answers")), answerCards(answers)] : null,
    b === undefined ? null : [h("h3", {}, text("features")), modelLegend(true), h("div", { class: "cards" }, features.map((_, f) => overlaid(f, b)).filter(Boolean).sort(byGap).slice(0, 24).map((one) => card(one, featureButton(one.f))))]));
}

// --- Distributions.

const featureName = (name) => (state.lang === "zh" && about.zh.features[name]) || name;
const definitionOf = (feature) => (state.lang === "zh" && about.zh.definitions[feature.name]) || feature.definition;
const featureButton = (f) => h("button", { title: definitionOf(features[f]), onclick: () => go({ view: "features", feature: features[f].name }) }, code(features[f]), state.lang === "zh" ? ` ${featureName(features[f].name)}` : null);
/** Humans' and the models' cells of a feature in a bucket. */
function overlaid(f, b) {
  const people = cellOf(f, b);
  if (!people) return null;
  const own = told.models.map((_, at) => cellOf(f, b + (at + 1) * listed.length));
  const gaps = own.map((cell) => cell ? gapOf(people, cell) : 0);
  return { f, b, people, own, gap: Math.max(...gaps) };
}
function gapOf(one, two) {
  let sum = 0, largest = 0;
  one.shares.forEach((share, bar) => { sum += share - two.shares[bar]; largest = Math.max(largest, Math.abs(sum)); });
  return Math.min(1, largest);
}
const byGap = (one, two) => two.gap - one.gap;
function describe(cell) {
  const feature = features[cell.f];
  return `${featureName(feature.name)}, ${buckets[cell.b].bucket}${text("colon")}${text("median")} ${say(feature, cell.q50)}, q10–q90 ${say(feature, cell.q10)}–${say(feature, cell.q90)}`;
}
function card(one, name) {
  const feature = features[one.f], { axis } = feature, there = one.own.map((cell, at) => [cell, at]).filter(([cell]) => cell);
  const top = Math.max(one.people.tallest, ...there.map(([cell]) => cell.tallest));
  return h("article", { class: "card" },
    h("div", { class: "head" }, name, h("span", { class: "soft small number", title: text("difference") }, one.gap.toFixed(2))),
    plot(() => [
      s("path", { d: barsPath(one.people, top, 100, 96), class: "bars a" }),
      there.map(([cell, at]) => s("path", { d: barsPath(cell, top, 100, 96), class: "outline m", style: { "--colour": colour(at) } })),
      s("line", { x1: 0, x2: 1000, y1: 100, y2: 100, class: "line" }), stroke(axis, one.people.q50, 0, 100, "median a"),
      there.map(([cell, at]) => { const line = stroke(axis, cell.q50, 0, 100, "median m"); line.style.setProperty("--colour", colour(at)); return line; }),
    ], 100, { f: one.f, b: one.b }, [one.people, ...there.map(([cell]) => cell)].map(describe).join("; ")),
    ticks(feature),
    h("div", { class: "foot" }, h("span", {}, `${text("median")} `, h("b", {}, say(feature, one.people.q50)), there.map(([cell, at]) => [" ", h("b", { style: { color: colour(at) } }, say(feature, cell.q50))]))));
}
function featuresView() {
  if (!features.length || !listed.length) return h("p", { class: "none" }, text("none"));
  const f = Math.max(0, features.findIndex((feature) => feature.name === (state.feature ?? "word_count"))), feature = features[f];
  const found = listed.map((_, b) => overlaid(f, b)).filter(Boolean);
  if (state.order === "byDifference") found.sort(byGap);
  if (state.order === "byRows") found.sort((one, two) => two.people.count - one.people.count);
  const grid = h("div", { class: "cards" });
  const show = () => {
    const kept = found.filter((one) => matches(state.find, listed[one.b].bucket));
    grid.replaceChildren(...kept.map((one) => card(one, bucketButton(listed[one.b].bucket))));
    if (!kept.length) grid.append(h("p", { class: "none" }, text(state.find ? "none" : "noHumans")));
  };
  show();
  const bars = (one) => [["humans", one.people], ...one.own.map((cell, at) => [told.models[at].name, cell])].filter(([, cell]) => cell)
    .flatMap(([side, cell]) => cell.shares.map((share, bar) => [feature.name, listed[one.b].bucket, side, ...edgesOf(feature.axis).slice(bar, bar + 2).map((edge) => backward(feature.axis, feature.axis.low + edge * (feature.axis.high - feature.axis.low))), share]));
  return h("div", { class: "split" },
    picker(h("span", {}, featureName(feature.name)), text("find"), features.map((one, place) => [code(one), state.lang === "zh" ? featureName(one.name) : "", `${one.name} ${about.zh.features[one.name] || ""} ${one.definition}`, place === f, () => go({ feature: one.name })])),
    h("section", {}, h("h2", {}, code(feature), state.lang === "zh" ? ` ${featureName(feature.name)}` : null),
      h("p", { class: "lead" }, `${definitionOf(feature)} ${text("counted")}${inChinese("units", feature.unit)} · ${text(feature.axis.log ? "log" : "linear")}`),
      features.length < about.all_features ? h("p", { class: "soft small" }, text("of")(features.length, about.all_features)) : null,
      h("div", { class: "controls" }, search(show), select("order", ["byDifference", "byRows", "byName"].map((key) => [key, text(key)]), state.order, text("order")),
        dataButton(feature.name, () => [["feature", "bucket", "side", "low", "high", "share"], ...found.flatMap(bars)])),
      modelLegend(true), grid));
}

// --- Phrases and answers.

function phraseTables(of) {
  return of.map((each) => [
    ...figure([dot(indexOf(each.model)), h("bdi", {}, each.model), ` · ${each.bucket ? text("phrases") : inChinese("languages", each.language)}`], `phrases-${each.model}`,
      () => [["model", "language", "bucket", "phrase", "model share", "human share", "log-odds", "p", "example"], ...each.phrases.map((phrase) => [each.model, each.language, each.bucket, phrase.text, phrase.model, phrase.humans, phrase.log_odds, phrase.p, phrase.examples[0]])]),
    table([[text("phrase")], [text("rateModel"), "end number"], [text("rateHumans"), "end number"], [text("odds"), "end number wide"], [text("p"), "end number wide"], [text("example"), "text"]],
      each.phrases.map((phrase) => [h("b", {}, h("bdi", {}, phrase.text)), percent(phrase.model), percent(phrase.humans), phrase.log_odds.toFixed(2), sayP(phrase.p), phrase.examples.map((example) => h("div", { class: "soft small" }, h("bdi", {}, example)))])),
  ]);
}
function phrasesView() {
  const of = told.phrases.filter((each) => !each.bucket);
  return [h("p", { class: "lead" }, text("phrasesNote")), of.length ? phraseTables(of) : h("p", { class: "none" }, text("noPhrases"))];
}
function answerCards(of) {
  return of.length ? h("div", { class: "answers" }, of.map((answer) => h("article", { class: "answer-card" },
    h("div", {}, dot(indexOf(answer.model)), h("b", {}, h("bdi", {}, answer.model)), ` · ${text(answer.kind === "worst" ? "worst" : "middle")} · `, bucketButton(answer.bucket),
      answer.percentile === null ? null : h("span", { class: "soft" }, ` · ${text("further")(percent(answer.percentile))}`)),
    h("p", { class: "soft" }, `${text("question")}: `, h("bdi", {}, answer.prompt)),
    h("div", { class: "sides" },
      h("div", { class: "of", style: { "--colour": colour(indexOf(answer.model)) } }, h("div", { class: "soft small" }, text("answer")), h("p", {}, h("bdi", {}, answer.answer.trim() || text("empty")))),
      h("div", { class: "of" }, h("div", { class: "soft small" }, text("humanAnswer")), h("p", {}, h("bdi", {}, answer.human)))),
    answer.reasons.length ? h("p", { class: "small" }, `${text("why")}: `, answer.reasons.map(([name, value, low, high]) => `${featureName(name)} ${digits(value)} (${text("within")} ${digits(low)}–${digits(high)})`).join("; ")) : null))) : null;
}
function answersView() {
  const models = [["", "*"], ...told.models.map((model) => [model.name, model.name])];
  const list = h("div");
  let most = 12;
  const show = () => {
    const kept = told.answers.filter((answer) => (!state.model || answer.model === state.model) && matches(state.find, answer.bucket));
    list.replaceChildren(answerCards(kept.slice(0, most)) || h("p", { class: "none" }, text("none")));
    if (kept.length > most) list.append(h("button", { class: "plain", onclick: () => { most += 12; show(); } }, text("more")(kept.length - most)));
  };
  show();
  return [h("div", { class: "controls" }, search(show), select("model", models, state.model || "", text("model")),
    dataButton("answers", () => [["model", "bucket", "kind", "id", "prompt", "answer", "human", "percentile", "reasons"], ...told.answers.map((answer) => [answer.model, answer.bucket, answer.kind, answer.id, answer.prompt, answer.answer, answer.human, answer.percentile, answer.reasons.map((reason) => reason.join(" ")).join("; ")])])), list];
}

// --- Method and settings.

function methodView() {
  const names = [...new Set(told.models.flatMap((model) => Object.keys(model.settings)))];
  return [
    ...figure(text("decoding"), "settings", () => [["setting", ...told.models.map((model) => model.name)], ...names.map((name) => [name, ...told.models.map((model) => model.settings[name])])]),
    names.length ? table([["", "bucket"], ...told.models.map((model, at) => [[dot(at), h("bdi", {}, model.name)], "text"])], names.map((name) => [h("code", {}, name), ...told.models.map((model) => h("bdi", {}, model.settings[name] ?? "–"))]))
      : h("p", { class: "soft" }, text("noSettings")),
    h("h3", {}, text("counts")),
    table([["", "bucket"], ...told.models.map((model, at) => [[dot(at), h("bdi", {}, model.name)], "end number"])], [...Object.keys(told.models[0].counts).map((name) => [text("countNames")[name], ...told.models.map((model) => number(model.counts[name]))]),
      [text("perPrompt"), ...told.models.map((model) => Object.entries(model.per_prompt).map(([many, count]) => `${many} (${number(count)})`).join(", "))]]),
    told.told.length ? [h("h3", {}, text("told")), h("ul", { class: "told" }, told.told.map((line) => h("li", {}, h("bdi", {}, either(line)))))] : null,
    h("h3", {}, text("settings")), h("p", { class: "soft" }, Object.entries(told.settings).map(([name, value], at) => [at ? " · " : "", h("code", {}, name), " ", h("bdi", {}, either(value))])),
    h("p", {}, h("button", { class: "plain data", onclick: () => save("evaluation.json", JSON.stringify(told), "application/json") }, text("json"))),
    h("h3", {}, text("formulas")), h("p", { class: "soft small" }, text("floorNote")),
    h("dl", { class: "method" }, told.measures.map((measure) => h("div", { id: `metric-${measure.name}`, class: measure.name === state.metric ? "marked" : "" }, h("dt", {}, titleOf(measure), " ", h("code", {}, measure.name)), h("dd", {}, either(measure.formula), h("span", { class: "soft" }, ` ${text("source")}${text("colon")}`, h("cite", {}, either(measure.source)))))))];
}

// --- What is under the pointer.

function showTip(event) {
  const target = event.target.closest?.(".plot");
  tip.hidden = !target;
  if (!target) return;
  const one = overlaid(Number(target.dataset.f), Number(target.dataset.b)), feature = features[one.f];
  const row = (name, cell) => cell ? [h("dt", {}, name), h("dd", {}, `${say(feature, cell.q50)} (${say(feature, cell.q10)}–${say(feature, cell.q90)}), ${number(cell.count)}`)] : [];
  tip.replaceChildren(h("strong", {}, featureName(feature.name)), h("div", {}, `${text("median")} (q10–q90)`),
    h("dl", {}, row(text("floor"), one.people), one.own.map((cell, at) => row(told.models[at].name, cell))));
  tip.hidden = false;
  placeTip(event.clientX + 16, event.clientY + 18, event.clientY - 14);
}
// --- Drawing the page anew, in the place it was.

const VIEW = { overview, table: bucketsView, bucket: bucketView, features: featuresView, phrases: phrasesView, answers: answersView, method: methodView };
let drawn = "";

function heading() {
  const other = state.lang === "en" ? "zh" : "en", theme = state.theme === "light" ? "dark" : "light";
  const facts = [[told.models.length, "models"], [Object.keys(told.humans).length, "buckets"], [Math.max(...told.models.map((model) => model.counts.prompts)), "prompts"], [Object.values(told.humans).reduce((sum, rows) => sum + rows, 0), "humans"]];
  return [
    h("header", {}, h("h1", {}, h("bdi", {}, about.title)), h("div", { class: "switches" },
      h("button", { id: "lang", lang: other === "zh" ? "zh-CN" : "en", onclick: () => go({ lang: other }) }, other === "zh" ? "中文" : "English"),
      h("button", { id: "theme", title: text("theme"), onclick: () => go({ theme }) }, text(theme)))),
    h("p", { class: "lead" }, text("lead")),
    h("dl", { class: "facts" }, facts.map(([value, key]) => h("div", {}, h("dt", {}, text(key)), h("dd", {}, number(value))))),
    h("nav", { role: "tablist", onkeydown: moveTab }, VIEWS.map((view) => h("button", {
      role: "tab", id: `tab-${view}`, "aria-selected": String(state.view === view), tabindex: state.view === view ? 0 : -1, onclick: () => go({ view }) }, text(view)))),
  ];
}
function moveTab(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const view = VIEWS[(VIEWS.indexOf(state.view) + step + VIEWS.length) % VIEWS.length];
  go({ view });
  document.getElementById(`tab-${view}`).focus();
}
function draw() {
  readState();
  if (!(state.bucket in told.humans)) state.bucket = told.alerts[0]?.bucket ?? Object.keys(told.humans)[0];
  const root = document.documentElement, focus = focusPath(), top = scrollY, list = page.querySelector(".choices"), scrolled = list ? list.scrollTop : null;
  root.lang = state.lang === "zh" ? "zh-CN" : "en";
  root.dataset.theme = state.theme;
  tip.hidden = true;
  observer.disconnect();
  page.replaceChildren(...heading(), h("main", { role: "tabpanel", "aria-labelledby": `tab-${state.view}` }, VIEW[state.view]()), h("footer", {}, h("p", {}, text("keys")(VIEWS.length))));
  const now = page.querySelector(".choices");
  if (now && scrolled !== null && drawn === state.view) now.scrollTop = scrolled;
  const marked = state.view === "method" && drawn !== "method" && state.metric !== USUAL.metric && document.getElementById(`metric-${state.metric}`);
  if (marked) marked.scrollIntoView({ block: "center" });
  else scrollTo(0, drawn === state.view ? top : Math.min(top, page.querySelector("nav").offsetTop));
  drawn = state.view;
  focus?.()?.focus({ preventScroll: true });
}

readState();
document.documentElement.dataset.theme = state.theme;
addEventListener("hashchange", () => told && draw());
const problem = (key) => page.replaceChildren(h("p", { class: "problem", role: "alert" }, text(key)));
async function start() {
  told = JSON.parse(new TextDecoder().decode(await inflate(document.getElementById("evaluation").textContent)));
  listed = buckets.slice(0, buckets.length / (told.models.length + 1));
  places = new Map(listed.map((bucket, place) => [bucket.bucket, place]));
  told.phrases ||= [];
  told.answers ||= [];
  unpack(await inflate(document.getElementById("numbers").textContent));
}
if (typeof DecompressionStream === "undefined") problem("old");
else start().then(draw, () => problem("broken"));
})();
