// What HTML can't do alone: forms that ask before they act, and errors of refreshes.
document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});

// A refresh that fails leaves the page as it is, and says so; a session that has ended leads to the sign-in.
document.addEventListener("htmx:responseError", (event) => {
  if (event.detail.xhr.status === 401) window.location.assign("/login?next=" + encodeURIComponent(location.pathname + location.search));
  else document.body.dataset.stale = "This page could not be refreshed: what it shows is older.";
});
document.addEventListener("htmx:sendError", () => {
  document.body.dataset.stale = "The gateway can't be reached: what this page shows is older.";
});
document.addEventListener("htmx:afterOnLoad", (event) => {
  if (event.detail.successful) delete document.body.dataset.stale;
});

// What a refresh must not change: what is open, how far it is scrolled, and what was announced to a screen reader.
// htmx itself keeps the focus of an element that has an id, unless it is in something that only now is open again.
let focused = "";
let open = [];
let scrolled = [];
document.addEventListener("htmx:beforeSwap", () => {
  focused = document.activeElement?.id ?? "";
  open = Array.from(document.querySelectorAll("details[id][open]"), (one) => one.id);
  scrolled = Array.from(document.querySelectorAll(".scroll[id]"), (one) => [one.id, one.scrollLeft]);
});
document.addEventListener("htmx:afterSwap", () => {
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  for (const [id, left] of scrolled) document.getElementById(id)?.scrollTo({ left, behavior: "instant" });
  const again = document.getElementById(focused);
  if (again && again !== document.activeElement) again.focus({ preventScroll: true });
  announce();
});

function announce() {
  const [news, place] = [document.querySelector("[data-announce]"), document.getElementById("announcement")];
  if (news && place && place.textContent !== news.textContent) place.textContent = news.textContent;
}
announce();
// A refresh would take away what the user is selecting.
document.addEventListener("htmx:beforeRequest", (event) => {
  if ("quiet" in event.target.dataset && !document.getSelection().isCollapsed) event.preventDefault();
});
