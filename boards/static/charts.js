// The burn-up: embedded once, then fed with new data. Vega comes when a chart is first needed, after the page stands.
"use strict";

(function () {
  const body = document.body;
  const charts = new Map(); // element → { view, values }
  let library = null;

  function load() {
    if (!library) {
      const script = new Promise((done, fail) => {
        const tag = document.createElement("script");
        tag.src = body.dataset.vega;
        tag.onload = done;
        tag.onerror = () => fail(new Error("vega did not load"));
        document.head.append(tag);
      });
      const spec = fetch(body.dataset.spec).then((answer) => answer.json());
      library = Promise.all([script, spec]).then(([, json]) => json);
      library.catch(() => { library = null; });
    }
    return library;
  }

  // Tooltips as text in an element of ours: no markup, no style element.
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  body.append(tip);
  function tooltip(handler, event, item, value) {
    // Over the cell of the nearest day the item stands one deeper, where Vega-Lite does not look.
    const datum = value && item && item.datum;
    const text = datum && (datum.datum || datum).tip;
    tip.hidden = !text;
    if (!text) return;
    tip.textContent = text;
    const box = tip.getBoundingClientRect();
    const left = Math.min(event.clientX + 14, window.innerWidth - box.width - 8);
    const top = event.clientY + 18 + box.height > window.innerHeight ? event.clientY - box.height - 12 : event.clientY + 18;
    tip.style.left = Math.max(left, 8) + "px";
    tip.style.top = top + "px";
  }

  function put(view, values) {
    for (const name of ["points", "labels", "marks"]) {
      view.data(name, values[name]);
    }
    return view.runAsync();
  }

  async function draw(figure) {
    const values = figure.dataset.values;
    const known = charts.get(figure);
    if (known) {
      if (known.values === values) return;
      known.values = values;
      if (known.view) await put(known.view, JSON.parse(values));
      return;
    }
    const chart = { values, view: null };
    charts.set(figure, chart);
    try {
      const spec = structuredClone(await load());
      delete spec.$schema; // written for an older Vega-Lite, which this one understands
      const data = JSON.parse(chart.values);
      const canvas = figure.querySelector(".canvas");
      if (canvas.clientWidth < 560) { // no margin for labels: they stand inside, above and below their lines
        for (const param of spec.params) if (param.name === "room") param.value = false;
      }
      spec.datasets = data; // so that scales and axes are right in the first frame
      const made = await window.vegaEmbed(canvas, spec, {
        ast: true, renderer: "svg", actions: false, defaultStyle: false, tooltip, mode: "vega-lite",
      });
      chart.view = made.view;
      canvas.classList.add("drawn");
      if (chart.values !== values) await put(chart.view, JSON.parse(chart.values));
    } catch (error) {
      charts.delete(figure);
      console.error(error);
      figure.querySelector(".canvas").classList.add("failed");
    }
  }

  window.planwatchCharts = function () {
    for (const figure of charts.keys()) {
      if (figure.isConnected) continue;
      const { view } = charts.get(figure);
      if (view) view.finalize();
      charts.delete(figure);
    }
    for (const figure of document.querySelectorAll("[data-chart]")) draw(figure);
  };
})();
