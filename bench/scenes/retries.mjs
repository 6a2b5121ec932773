// Callers of retries.py with the official clients of npm:
//     node retries.mjs FOLDER HOST:PORT CALLERS THINK
// FOLDER has node_modules with openai and @anthropic-ai/sdk. THINK: mean seconds between two calls.
import { createRequire } from "node:module";
import path from "node:path";

const [folder, address, callers, think] = process.argv.slice(2);
const require = createRequire(path.resolve(folder, "package.json"));
const { OpenAI } = require("openai");
const { Anthropic } = require("@anthropic-ai/sdk");
const asks = { model: "sim-1", max_tokens: 50, messages: [{ role: "user", content: "x" }] };
const base = `http://${address}`;
const one = new OpenAI({ baseURL: `${base}/v1`, apiKey: "none", timeout: 120000 });
const other = new Anthropic({ baseURL: base, apiKey: "none", timeout: 120000 });
const sleep = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

async function call(k) {
  await sleep(Math.random() * think);
  for (;;) {
    // A call that fails has failed for good: the client has tried again by itself.
    await (k % 2 ? one.chat.completions.create(asks) : other.messages.create(asks)).catch(() => {});
    await sleep(-Math.log(1 - Math.random()) * think);
  }
}

for (let k = 0; k < Number(callers); k += 1) call(k);
