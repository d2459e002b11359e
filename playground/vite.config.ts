import { defineConfig } from "vite";

// What comes out is committed, so that apid builds without npm: the names carry no hashes, or each change would be a new file; apid's ETags do
// their work. `make playground-check` builds it again and compares.
export default defineConfig({
  base: "./", // a proxy may serve us below a path
  build: {
    outDir: "../apid/playground",
    emptyOutDir: true,
    cssCodeSplit: false, // both pages have the same style
    target: ["chrome123", "firefox121", "safari17.5"],
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0, // data: URLs are not allowed by the pages' policy
    chunkSizeWarningLimit: 1024,
    rollupOptions: {
      input: ["index.html", "status.html"],
      output: {
        entryFileNames: "assets/[name].js",
        chunkFileNames: "assets/[name].js",
        assetFileNames: "assets/[name][extname]",
        // The editor is most of the bytes and changes rarely.
        manualChunks: (id) => (/@codemirror|@lezer|node_modules\/(style-mod|w3c-keyname|crelt)/.test(id) ? "editor" : undefined),
      },
    },
  },
  server: { proxy: { "/v1": process.env["RUNTOOLS_URL"] ?? "http://127.0.0.1:8080" } },
});
