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
