// Whoever has no session shows the token of the node.
import { html, useState } from "./html.js";
import { post } from "./api.js";
import { Page, Trouble } from "./ui.js";

export default function SignIn({ done }) {
  const [token, setToken] = useState("");
  const [problem, setProblem] = useState(null);
  const enter = async (e) => {
    e.preventDefault();
    try {
      await post("/session", { token });
      done();
    } catch (p) { setProblem(p); }
  };
  return html`<${Page} title="Sign in" note="This node wants to know who you are.">
    <form class="card narrow" onSubmit=${enter}>
      <label class="field"><span>Token</span><input type="password" autocomplete="current-password" required value=${token} onInput=${(e) => setToken(e.target.value)} /></label>
      <p class="quiet">The command <code>polity up</code> prints a link that needs no token. <code>polity access create</code> makes one.</p>
      ${problem && html`<${Trouble} problem=${problem} />`}
      <button type="submit" class="primary">Sign in</button>
    </form>
  <//>`;
}
