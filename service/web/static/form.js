// Shows a Questionnaire with LHC-Forms, sends what was answered, and puts what comes back in its place.
(() => {
  "use strict";
  const read = (holder) => JSON.parse(holder.querySelector("script[type='application/json']").textContent);

  function show(holder) {
    const questions = holder.querySelector(".questions");
    const asked = LForms.Util.convertFHIRQuestionnaireToLForms(read(holder), "R4");
    asked.templateOptions = { showFormHeader: false, hideFormControls: true, viewMode: "sm", allowMultipleEmptyRepeatingItems: false, hideTreeLine: true, hideIndentation: true, hideRepetitionNumber: true, showCodingInstruction: false };
    new MutationObserver(() => nameGroups(questions)).observe(questions, { childList: true, subtree: true, attributeFilter: ["id"] });
    LForms.Util.addFormToPage(asked, questions.id, { prepopulate: false });
    holder.querySelector(".row").hidden = false;
  }

  // A screen reader says the question with its group of answers, and the quote above it.
  function nameGroups(questions) {
    questions.querySelectorAll("[role=radiogroup]").forEach((group) => {
      const item = group.closest("lhc-item");
      const quotes = [];
      for (let above = item.previousElementSibling; above; above = above.previousElementSibling) {
        const quote = above.querySelector("lhc-item-display label");
        if (!quote) break;
        quotes.unshift(quote.id);
      }
      if (![item.querySelector("label").id, ...quotes].every(Boolean)) return; // not drawn to the end yet
      if (quotes.length) group.setAttribute("aria-describedby", quotes.join(" "));
      group.setAttribute("aria-labelledby", item.querySelector("label").id);
    });
  }

  function tell(holder, sentence) {
    const place = holder.querySelector(".alert");
    place.textContent = sentence;
    if (sentence) place.focus();
  }

  async function send(holder, address, body) {
    const buttons = holder.querySelectorAll("button");
    buttons.forEach((button) => { button.disabled = true; });
    tell(holder, "");
    try {
      const answer = await fetch(address, { method: "POST", credentials: "same-origin", headers: { "Content-Type": "application/fhir+json" }, body: JSON.stringify(body) });
      if (answer.ok) return replace(holder, await answer.text());
      const outcome = await answer.json();
      tell(holder, outcome.issue.map((issue) => issue.diagnostics).join(" "));
    } catch {
      tell(holder, "The service cannot be reached; nothing was sent. Try again.");
    }
    buttons.forEach((button) => { button.disabled = false; });
  }

  function replace(holder, markup) {
    const page = new DOMParser().parseFromString(markup, "text/html");
    const told = page.querySelector("[data-told]");
    holder.replaceWith(told);
    (told.querySelector("h2") || told).focus();
    told.querySelectorAll("[data-form]").forEach(start);
    window.scrollTo(0, Math.max(0, told.offsetTop - 16));
  }

  function start(holder) {
    if (!holder.querySelector(".questions")) return;
    show(holder);
    const address = holder.dataset.form;
    holder.addEventListener("submit", (event) => {
      event.preventDefault();
      if (event.target.matches("[data-decline]")) {
        send(holder, `${address}/decline`, { reason: event.target.elements.reason.value });
      } else {
        const kept = LForms.Util.getFormFHIRData("QuestionnaireResponse", "R4", holder.querySelector(".questions").id);
        send(holder, address, kept);
      }
    });
  }

  document.addEventListener("click", async (event) => {
    const copy = event.target.closest("[data-copy]");
    if (!copy) return;
    const source = document.getElementById(copy.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
      copy.textContent = "Copied";
    } catch { // in a frame of an EHR the clipboard may be out of reach: what is selected can be copied by hand
      getSelection().selectAllChildren(source);
      copy.textContent = document.execCommand("copy") ? "Copied" : "Selected: copy it with Ctrl+C";
    }
  });

  document.addEventListener("toggle", async (event) => {
    const wanted = event.target.querySelector("[data-fetch]");
    if (!event.target.open || !wanted || wanted.textContent) return;
    const sent = document.getElementById(wanted.dataset.body).textContent;
    const answer = await fetch(wanted.dataset.fetch, { method: "POST", headers: { "Content-Type": "application/json" }, body: sent });
    wanted.textContent = JSON.stringify(await answer.json(), null, 2);
  }, true);

  document.querySelectorAll("[data-form]").forEach(start);
})();
