// Shows the options of this pack's menus in the language of the page. The front end translates node and input names
// from locales/, but not options; only what is displayed changes here, never a value that a workflow stores.
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

const PACK = decodeURIComponent(new URL(import.meta.url).pathname.split("/extensions/")[1].split("/")[0]);
let nodes = {};

app.registerExtension({
  name: "sora.option_labels",

  async init() {
    const locale = app.extensionManager.setting.get("Comfy.Locale");
    nodes = (await (await api.fetchApi("/i18n")).json())[locale]?.nodeDefs ?? {};
  },

  nodeCreated(node) {
    if (node.constructor.nodeData?.python_module !== `custom_nodes.${PACK}`) return;
    for (const widget of node.widgets ?? []) {
      const labels = nodes[node.comfyClass]?.inputs?.[widget.name]?.options ?? {};
      if (Object.entries(labels).some(([value, label]) => value !== label)) {
        widget.options.getOptionLabel = (value) => labels[value] ?? value ?? "";
      }
    }
  },
});
