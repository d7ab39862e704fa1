// Runs before the page is drawn, so that a chosen theme never flashes. Only the choice is kept, here in the browser.
try {
  const chosen = localStorage.getItem("kedge-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch { /* storage may be closed to this page: then the system's theme holds */ }
