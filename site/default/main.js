// Asks the server for the head of this page once more and shows what it said and how long it took.
const rows = {
  "answer-status": (response) => `${response.status} ${response.statusText}`.trim(),
  "answer-server": (response) => response.headers.get("server"),
  "answer-date": (response) => response.headers.get("date"),
  "answer-type": (response) => response.headers.get("content-type"),
  "answer-etag": (response) => response.headers.get("etag"),
};

async function show() {
  const start = performance.now();
  const response = await fetch("/", { method: "HEAD", cache: "no-store" });
  const time = performance.now() - start;
  for (const [id, value] of Object.entries(rows)) {
    document.getElementById(id).textContent = value(response) ?? "not given";
  }
  document.getElementById("answer-time").textContent = `${time.toFixed(1)} ms, seen from your browser`;
}

show().catch(() => {
  document.getElementById("answer-status").textContent = "the server did not answer";
});
