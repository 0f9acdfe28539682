"use strict";
(() => {
const TEXTS = {
  en: {
    name: "Your name or initials", start: "Begin", goOn: "Go on", nameWhy: "Ratings are kept under this name. Each name sees the tasks in an order of its own.",
    tasks: (ratings, choices) => `${ratings} answers to rate, ${choices} pairs to choose from.`,
    of: (at, all) => `${at} of ${all}`, done: (many) => `${many} done`, answer: "The answer", first: "A", second: "B",
    user: "Somebody", assistant: "The other", system: "Setting",
    back: "Back", next: "Next", open: "Next unanswered", save: "Export ratings", load: "Import ratings",
    finished: "All is answered. Thank you!", finishedWhy: "Export your ratings and send the file to who asked you.",
    unfinished: (many) => many === 1 ? "One task is not answered yet." : `${many} tasks are not answered yet.`,
    keys: [["1–5", "rate, or 1 and 2 choose"], ["↑ ↓", "question"], ["← →", "task"], ["Enter", "next unanswered"], ["E", "export"]],
    kept: "Kept in this browser.", notKept: "This browser keeps nothing: export before you close the page.",
    wrongPage: "These ratings are of another page.", noRatings: "This is no file of ratings.",
    loaded: (name, many) => `${name}: ${many} tasks were imported.`, exported: "Exported.",
    dark: "Dark", light: "Light", theme: "Colours: light or dark", other: "another name",
  },
  zh: {
    name: "您的姓名或代号", start: "开始", goOn: "继续", nameWhy: "评分以此名保存；每个名字看到的任务顺序各不相同。",
    tasks: (ratings, choices) => `共 ${ratings} 条回答待评分，${choices} 对回答待选择。`,
    of: (at, all) => `第 ${at} / ${all} 项`, done: (many) => `已完成 ${many} 项`, answer: "回答", first: "甲", second: "乙",
    user: "某人", assistant: "对方", system: "设定",
    back: "上一项", next: "下一项", open: "下一个未答", save: "导出评分", load: "导入评分",
    finished: "全部完成，谢谢！", finishedWhy: "请导出评分文件，并发送给邀请您的人。",
    unfinished: (many) => `还有 ${many} 项未作答。`,
    keys: [["1–5", "评分；选择时用 1、2"], ["↑ ↓", "切换问题"], ["← →", "切换任务"], ["Enter", "下一个未答"], ["E", "导出"]],
    kept: "已保存在本浏览器中。", notKept: "本浏览器无法保存：关闭页面前请先导出。",
    wrongPage: "这些评分属于另一个页面。", noRatings: "这不是评分文件。",
    loaded: (name, many) => `${name}：已导入 ${many} 项。`, exported: "已导出。",
    dark: "深色", light: "浅色", theme: "配色：浅色或深色", other: "换一个名字",
  },
};
const about = JSON.parse(document.getElementById("about").textContent);
const page = document.getElementById("page");
const tasks = new Map(about.tasks.map((task) => [task.id, task]));
const counts = [about.tasks.filter((task) => "answer" in task).length, about.tasks.filter((task) => "answers" in task).length];

// --- What is kept: under the page, and for each rater under the name.

const storage = {
  works: true,
  get(name) {
    try {
      return JSON.parse(localStorage.getItem(`polyalign|${about.page}|${name}`));
    } catch {
      return null;
    }
  },
  set(name, value) {
    try {
      localStorage.setItem(`polyalign|${about.page}|${name}`, JSON.stringify(value));
      this.works = true;
    } catch {
      this.works = false;
    }
  },
};
const settings = {
  lang: (navigator.language || "").startsWith("zh") ? "zh" : "en",
  theme: matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light",
  rater: "",
  ...storage.get("settings"),
};
for (const [key, value] of new URLSearchParams(location.hash.slice(1))) if (["lang", "theme"].includes(key)) settings[key] = value;
if (!(settings.lang in TEXTS)) settings.lang = "en";
/** Whose turn it is, or null at the beginning; `order` are ids, `at` one's place, or their number at the end. */
let turn = null, told = "";

const t = (name) => TEXTS[settings.lang][name];
const worded = (texts) => texts[settings.lang] || texts.en;

// --- Each rater's own order, the same whenever the page is opened: ratings before choices.

function numbers(text) {
  let hash = 2166136261;
  for (const character of text) hash = Math.imul(hash ^ character.codePointAt(0), 16777619);
  return () => {
    hash = (hash + 0x6D2B79F5) | 0;
    let mixed = Math.imul(hash ^ (hash >>> 15), hash | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
function shuffled(items, random) {
  const mixed = [...items];
  for (let at = mixed.length - 1; at > 0; at--) {
    const other = Math.floor(random() * (at + 1));
    [mixed[at], mixed[other]] = [mixed[other], mixed[at]];
  }
  return mixed;
}
function orderOf(rater) {
  const random = numbers(`${about.page}|${rater}`);
  const kinds = [about.tasks.filter((task) => "answer" in task), about.tasks.filter((task) => "answers" in task)];
  return kinds.flatMap((kind) => shuffled(kind, random)).map((task) => task.id);
}

// --- Answers.

const wanted = (task) => "answers" in task ? ["choice"] : about.questions.map((question) => question.id);
const valid = (task, name, value) => name === "choice" ? ["a", "b"].includes(value) : about.scale.includes(value);
const given = (id) => turn.ratings[id] || {};
const isDone = (id) => wanted(tasks.get(id)).every((name) => name in given(id));
const doneCount = () => turn.order.filter(isDone).length;

function begin(rater) {
  const kept = storage.get(`rater ${rater}`);
  turn = { rater, order: orderOf(rater), at: 0, question: 0, ratings: usable(kept?.ratings) };
  settings.rater = rater;
  storage.set("settings", settings);
  keep();
  told = "";
  go(Math.max(0, turn.order.findIndex((id) => !isDone(id))));
  if (doneCount() === turn.order.length) go(turn.order.length);
}
/** What of ratings fits this page. */
function usable(ratings) {
  const found = {};
  for (const [id, values] of Object.entries(ratings || {})) {
    const task = tasks.get(id);
    if (!task || typeof values !== "object" || values === null) continue;
    const fitting = wanted(task).filter((name) => valid(task, name, values[name])).map((name) => [name, values[name]]);
    if (fitting.length) found[id] = Object.fromEntries(fitting);
  }
  return found;
}
const keep = () => storage.set(`rater ${turn.rater}`, { ratings: turn.ratings });

function rate(name, value) {
  const id = turn.order[turn.at];
  turn.ratings[id] = { ...given(id), [name]: value };
  keep();
  const names = wanted(tasks.get(id)), place = names.indexOf(name);
  turn.question = Math.min(place + 1, names.length - 1);
  draw();
}
function go(at) {
  turn.at = Math.min(Math.max(0, at), turn.order.length);
  const id = turn.order[turn.at];
  turn.question = id === undefined ? 0 : Math.max(0, wanted(tasks.get(id)).findIndex((name) => !(name in given(id))));
  draw();
  scrollTo(0, 0);
}
/** The next task that is not answered: after this one, else from the first; else the end. */
function goOn() {
  const open = (id) => !isDone(id);
  const later = turn.order.findIndex((id, at) => at > turn.at && open(id)), first = turn.order.findIndex(open);
  go(later >= 0 ? later : first >= 0 ? first : turn.order.length);
}

// --- Files.

const exported = () => ({ format: about.format, page: about.page, rater: turn.rater, language: settings.lang, ratings: turn.ratings });
function save() {
  const link = h("a", {
    href: URL.createObjectURL(new Blob([JSON.stringify(exported(), null, 1)], { type: "application/json" })),
    download: `ratings-${turn.rater.replace(/[^\p{L}\p{N}_-]+/gu, "-")}.json`,
  });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  say("exported");
}
const say = (name, ...values) => {
  told = typeof t(name) === "function" ? t(name)(...values) : t(name);
  draw();
};
async function load(file) {
  let found = null;
  try {
    found = JSON.parse(await file.text());
  } catch {
    // Said below.
  }
  if (found?.format !== about.format || typeof found.rater !== "string" || !found.rater.trim()) return say("noRatings");
  if (found.page !== about.page) return say("wrongPage");
  const rater = found.rater.trim(), ratings = usable(found.ratings);
  storage.set(`rater ${rater}`, { ratings: { ...storage.get(`rater ${rater}`)?.ratings, ...ratings } });
  if (!storage.works) return say("notKept");
  begin(rater);
  return say("loaded", rater, Object.keys(ratings).length);
}

// --- Elements. Texts only ever enter the page as text.

function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}
const push = (text, onclick, attributes) => h("button", { type: "button", class: "push", onclick, ...attributes }, text);

function header() {
  const other = settings.lang === "en" ? "zh" : "en", theme = settings.theme === "dark" ? "light" : "dark";
  const set = (change) => () => {
    Object.assign(settings, change);
    storage.set("settings", settings);
    told = "";
    draw();
  };
  return h("header", {}, h("h1", { dir: "auto" }, worded(about.title)), h("div", { class: "switches" },
    h("button", { type: "button", id: "lang", lang: other, onclick: set({ lang: other }) }, other === "zh" ? "中文" : "English"),
    h("button", { type: "button", id: "theme", title: t("theme"), onclick: set({ theme }) }, t(theme))));
}
const said = () => h("p", { id: "told", role: "status", class: "soft small" }, told);
function importer() {
  const input = h("input", { type: "file", id: "file", accept: ".json,application/json", hidden: true, onchange: () => input.files[0] && load(input.files[0]) });
  return [input, push(t("load"), () => input.click(), { id: "load" })];
}

function welcome() {
  const name = h("input", { id: "name", maxlength: 80, autocomplete: "off", placeholder: t("name"), "aria-label": t("name") });
  name.value = settings.rater;
  const start = push(t("start"), () => name.value.trim() && begin(name.value.trim()), { id: "start", class: "push first" });
  const ready = () => {
    start.disabled = !name.value.trim();
    start.textContent = storage.get(`rater ${name.value.trim()}`) ? t("goOn") : t("start");
  };
  name.addEventListener("input", ready);
  name.addEventListener("keydown", (event) => event.key === "Enter" && !event.isComposing && start.click());
  ready();
  return h("main", {},
    h("p", { class: "prose", dir: "auto" }, worded(about.instructions)),
    h("p", { class: "soft" }, t("tasks")(...counts)),
    h("div", { class: "row" }, name, start, importer()),
    h("p", { class: "soft small" }, t("nameWhy")), said());
}

const message = ({ role, content }) => h("div", { class: `said ${role === "assistant" ? "assistant" : ""}` },
  h("div", { class: "who" }, t(role) || role), h("div", { class: "what", dir: "auto" }, content));

function questionsOf(task) {
  return about.questions.map((question, place) => h("div", { class: place === turn.question ? "asked here" : "asked", role: "group", "aria-label": worded(question.text) },
    h("div", { dir: "auto" }, worded(question.text)),
    h("div", { class: "marks" }, about.scale.map((value) => h("button", {
      type: "button", "aria-pressed": String(given(task.id)[question.id] === value), "data-question": question.id, "data-value": value,
      onclick: () => rate(question.id, value),
    }, String(value)))),
    h("div", { class: "ends" }, h("span", { dir: "auto" }, `${about.scale[0]} ${worded(question.low)}`), h("span", { dir: "auto" }, `${about.scale.at(-1)} ${worded(question.high)}`))));
}
function choiceOf(task) {
  return [h("p", { dir: "auto" }, h("b", {}, worded(about.choice))), h("div", { class: "two" }, task.answers.map((answer, side) => h("button", {
    type: "button", class: "answer", "data-side": "ab"[side], "aria-pressed": String(given(task.id).choice === "ab"[side]), onclick: () => rate("choice", "ab"[side]),
  }, h("b", {}, `${side + 1} · ${t(side ? "second" : "first")}`), h("span", { dir: "auto" }, answer))))];
}
function state() {
  const done = doneCount();
  return h("div", { class: "state" },
    h("span", { class: "number", id: "at" }, turn.at < turn.order.length ? t("of")(turn.at + 1, turn.order.length) : ""),
    h("progress", { max: turn.order.length, value: done, "aria-label": t("done")(done) }),
    h("span", { class: "soft number", id: "done" }, t("done")(done)));
}
function tools() {
  return [h("div", { class: "row" },
    push(t("back"), () => go(turn.at - 1), { id: "back", disabled: turn.at === 0 }),
    push(t("next"), () => go(turn.at + 1), { id: "next", disabled: turn.at >= turn.order.length }),
    push(t("open"), goOn, { id: "open", class: "push first" }),
    push(t("save"), save, { id: "save" }), importer()),
  h("p", { class: "keys" }, t("keys").map(([key, what]) => [h("kbd", {}, key), ` ${what}   `])),
  h("p", { class: storage.works ? "soft small" : "warn small" }, `${turn.rater} · `, storage.works ? t("kept") : t("notKept"), " ",
    h("button", { type: "button", id: "other", class: "soft", onclick: () => { turn = null; told = ""; draw(); } }, `(${t("other")})`)),
  said()];
}
function work() {
  const task = tasks.get(turn.order[turn.at]);
  return h("main", { "data-task": task.id }, state(),
    h("div", { class: "talk" }, task.prompt.map(message)),
    "answers" in task ? choiceOf(task) : [h("h3", {}, t("answer")), h("div", { class: "answer", id: "answer", dir: "auto" }, task.answer), questionsOf(task)],
    tools());
}
function end() {
  const left = turn.order.length - doneCount();
  return h("main", { id: "end" }, state(),
    h("h2", {}, left ? t("unfinished")(left) : t("finished")), left ? null : h("p", {}, t("finishedWhy")), tools());
}

function draw() {
  const focused = document.activeElement?.id;
  document.documentElement.lang = settings.lang === "zh" ? "zh-Hans" : "en";
  document.documentElement.dataset.theme = settings.theme;
  document.title = worded(about.title);
  page.replaceChildren(header(), turn === null ? welcome() : turn.at < turn.order.length ? work() : end());
  const talk = page.querySelector(".talk");
  if (talk) talk.scrollTop = talk.scrollHeight;
  if (focused && focused !== "name") document.getElementById(focused)?.focus({ preventScroll: true });
}

// --- Keys.

addEventListener("keydown", (event) => {
  if (turn === null || event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.target.matches?.("input, textarea")) return;
  const task = tasks.get(turn.order[turn.at]), key = event.key;
  const names = task ? wanted(task) : [], digit = Number(key);
  if (task && "answers" in task && ["1", "2"].includes(key)) rate("choice", "ab"[digit - 1]);
  else if (task && "answer" in task && about.scale.includes(digit) && key.trim()) rate(names[turn.question], digit);
  else if (task && ["ArrowUp", "ArrowDown"].includes(key) && names.length > 1) {
    turn.question = Math.min(names.length - 1, Math.max(0, turn.question + (key === "ArrowUp" ? -1 : 1)));
    draw();
  } else if (key === "ArrowLeft") go(turn.at - 1);
  else if (key === "ArrowRight") go(turn.at + 1);
  else if (key === "Enter" && !event.target.matches?.("button")) goOn();
  else if (key.toLowerCase() === "e") save();
  else return;
  event.preventDefault();
});

draw();
})();
