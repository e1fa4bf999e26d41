// Keeps the page at what the server says: takes events, opens and closes rows, ticks ages, tells when the line is lost.
"use strict";

(function () {
  const body = document.body;
  const GLOW_MS = 1800;
  const SILENT_MS = 25000; // two heartbeats missed
  const SAY_MS = 30000; // a screen reader hears the sentence at most this often
  const THIN = "\u202f";

  let ageS = body.dataset.age === undefined ? null : Number(body.dataset.age);
  let agedAt = performance.now();
  let heardAt = performance.now();
  let lostAt = null;
  let saidAt = -SAY_MS;

  // Open rows are remembered for the visit, so that going to a rep and back finds them as they were.
  const store = "open:" + location.pathname;
  let open = new Set();
  try { open = new Set(JSON.parse(sessionStorage.getItem(store) || "[]")); } catch { /* storage may be off */ }

  function applyOpen(root) {
    for (const row of root.querySelectorAll("tr[data-parent]")) {
      const parents = [];
      let key = row.dataset.parent;
      while (key) { parents.push(key); key = key.slice(0, key.lastIndexOf("/")); }
      row.toggleAttribute("hidden", !parents.every((parent) => open.has(parent)));
    }
    for (const button of root.querySelectorAll("[data-opens]")) {
      button.setAttribute("aria-expanded", String(open.has(button.dataset.opens)));
    }
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-opens]");
    if (!button) return;
    const key = button.dataset.opens;
    if (open.has(key)) open.delete(key); else open.add(key);
    try { sessionStorage.setItem(store, JSON.stringify([...open].slice(-200))); } catch { /* as above */ }
    applyOpen(document);
  });

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") document.querySelector("details.when[open]")?.removeAttribute("open");
  });

  function ageWords(seconds) {
    if (seconds < 60) return seconds + THIN + "s";
    if (seconds < 3600) return Math.floor(seconds / 60) + THIN + "min";
    if (seconds < 172800) return Math.floor(seconds / 3600) + THIN + "h";
    return Math.floor(seconds / 86400) + THIN + "days";
  }

  function tick() {
    if (ageS !== null && body.dataset.live === "true") {
      const seconds = ageS + Math.floor((performance.now() - agedAt) / 1000);
      for (const element of document.querySelectorAll("b[data-age]")) element.textContent = ageWords(seconds);
    }
    if (lostAt === null && performance.now() - heardAt > SILENT_MS) {
      lose();
      connect(); // a line that is open and silent does not come back by itself
    }
    if (lostAt !== null) sayLost();
  }

  const lost = document.getElementById("lost");
  function lose() {
    if (lostAt === null) lostAt = performance.now();
  }
  function sayLost() {
    const seconds = Math.floor((performance.now() - lostAt) / 1000);
    if (seconds < 2) return; // a blink is not worth a word
    if (lost.hidden) lost.append(document.createElement("span"));
    lost.hidden = false;
    body.classList.add("is-lost");
    lost.firstChild.textContent = "Connection lost " + ageWords(seconds) + " ago. What you see no longer moves; trying again.";
  }
  function found() {
    heardAt = performance.now();
    lostAt = null;
    if (lost.hidden) return;
    lost.hidden = true;
    lost.textContent = "";
    body.classList.remove("is-lost");
  }

  function glow(elements) {
    for (const element of elements) {
      element.classList.remove("changed");
      void element.offsetWidth; // starts the animation anew
      element.classList.add("changed");
      setTimeout(() => element.classList.remove("changed"), GLOW_MS);
    }
  }

  function show(event) {
    found();
    const data = JSON.parse(event.data);
    const before = document.getElementById("sentence")?.textContent;
    ageS = data.age_s;
    agedAt = performance.now();
    body.dataset.version = data.version;
    document.title = data.title;
    const changed = [];
    for (const [name, html] of Object.entries(data.sections)) {
      const section = document.getElementById("s-" + name);
      if (section) changed.push(...window.planwatchMorph(section, html, applyOpen));
    }
    glow(changed);
    window.planwatchCharts();
    tick();
    const sentence = document.getElementById("sentence")?.textContent;
    if (sentence && sentence !== before && performance.now() - saidAt > SAY_MS) {
      saidAt = performance.now();
      document.getElementById("said").textContent = sentence;
    }
  }

  let stream = null;
  function connect() {
    if (stream) stream.close();
    heardAt = performance.now();
    stream = new EventSource(body.dataset.events);
    stream.addEventListener("view", show);
    stream.addEventListener("beat", found);
    stream.addEventListener("bye", lose);
    stream.addEventListener("out", () => location.reload()); // signed out elsewhere, or the token is no more
    stream.addEventListener("problem", (event) => {
      found();
      lost.hidden = false;
      lost.textContent = JSON.parse(event.data).text;
    });
    stream.onerror = () => {
      lose();
      if (stream.readyState === EventSource.CLOSED) setTimeout(connect, 3000);
    };
  }

  applyOpen(document);
  window.planwatchCharts();
  connect();
  setInterval(tick, 1000);
})();
