// Brings a piece of the page to new HTML by changing only what differs: elements with a data-key are matched by it,
// so focus, scroll, open rows and typed text stay where they are.
"use strict";

(function () {
  const keyOf = (node) => (node.nodeType === 1 ? node.getAttribute("data-key") || node.id || null : null);

  function alike(a, b) {
    return a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);
  }

  function attributes(from, to, changed) {
    if (to.hasAttribute("data-glow") && from.getAttribute("data-glow") !== to.getAttribute("data-glow")) changed.push(from);
    if (from.classList.contains("changed")) to.classList.add("changed"); // the glow runs to its end
    for (const { name, value } of Array.from(to.attributes)) {
      if (from.getAttribute(name) !== value) from.setAttribute(name, value);
    }
    for (const { name } of Array.from(from.attributes)) {
      if (!to.hasAttribute(name) && name !== "open") from.removeAttribute(name); // what is open belongs to the reader
    }
  }

  function node(from, to, changed) {
    if (from.nodeType !== 1) {
      if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue;
      return;
    }
    // What a script draws, and what a reader is choosing in, are left alone.
    if (from.hasAttribute("data-keep")) {
      if (to.hasAttribute("aria-label")) from.setAttribute("aria-label", to.getAttribute("aria-label"));
      return;
    }
    attributes(from, to, changed);
    if (from === document.activeElement && from.nodeName === "SELECT") return;
    children(from, to, changed);
  }

  function children(from, to, changed) {
    const keyed = new Map();
    for (const child of from.children) {
      const key = keyOf(child);
      if (key) keyed.set(key, child);
    }
    let at = from.firstChild;
    for (const next of Array.from(to.childNodes)) {
      const key = keyOf(next);
      let match = null;
      if (key) match = keyed.get(key) || null;
      else if (at && alike(at, next)) match = at;
      if (match && match.nodeName === next.nodeName) {
        if (match === at) at = at.nextSibling;
        else from.insertBefore(match, at);
        node(match, next, changed);
      } else {
        from.insertBefore(next, at);
        if (next.nodeType === 1 && next.hasAttribute("data-glow")) changed.push(next);
      }
      if (key) keyed.delete(key);
    }
    while (at) {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    }
  }

  // Gives the elements whose data-glow differs: those that a reader should see change.
  window.planwatchMorph = function (target, html, prepare) {
    const fresh = document.createElement("template");
    fresh.innerHTML = html;
    if (prepare) prepare(fresh.content);
    const focused = document.activeElement;
    const changed = [];
    children(target, fresh.content, changed);
    if (focused && focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
    return changed;
  };
})();
