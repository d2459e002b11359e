'use strict';
// Lets node run TypeScript: the whole language, not its erasable part. Each .ts file is translated in this process when it is loaded;
// node maps stack traces back with the inline source map (--enable-source-maps). Types are not checked, as `tsx` or a bundler would.

const { registerHooks, isBuiltin } = require('node:module');
const { existsSync, readFileSync } = require('node:fs');
const { dirname, join } = require('node:path');
const { fileURLToPath, pathToFileURL } = require('node:url');
const { Script } = require('node:vm');

module.exports = { warm };

const typescript = /\.([cm]?)tsx?$/;
let swc; // loaded with the first file: a program's own children that run plain JavaScript do not pay for it

registerHooks({ resolve, load });

// resolve finds './util' as ./util.ts, and './util.js', as the compiler wants it written, as ./util.ts when there is no such file.
function resolve(specifier, context, next) {
  if (!context.parentURL || isBuiltin(specifier) || !/^\.{0,2}\//.test(specifier)) return next(specifier, context);
  const parent = context.parentURL.startsWith('file:') ? fileURLToPath(context.parentURL) : context.parentURL;
  const path = join(specifier[0] === '/' ? '/' : dirname(parent), decodeURI(specifier));
  if (existsSync(path) && /\.\w+$/.test(path)) return next(specifier, context);
  const bare = path.replace(/\.([cm]?)jsx?$/, '.$1ts');
  const candidates = bare === path ? [`${path}.ts`, `${path}.tsx`, `${path}.mts`, `${path}.cts`, join(path, 'index.ts')] : [bare];
  const found = candidates.find(existsSync);
  if (!found) return next(specifier, context);
  return { url: pathToFileURL(found).href, format: undefined, shortCircuit: true };
}

function load(url, context, next) {
  const match = url.startsWith('file:') && typescript.exec(url);
  if (!match) return next(url, context);
  const file = fileURLToPath(url);
  const source = readFileSync(file, 'utf8');
  if (match[1] === 'm' || (match[1] === '' && isModulePackage(dirname(file)))) return asModule(file, source);
  // What a module imports is a module too, so that default exports mean the same on both sides.
  if (context.conditions?.includes('import') && /^\s*(import|export)\b/m.test(source)) return asModule(file, source);
  const code = translate(file, source, 'commonjs');
  // CommonJS, as tsc's default is, lets import and require stand side by side, and lets a type be re-exported. Only what exists in
  // modules alone makes a file one: import.meta, and await outside of functions. In a static block of a class every await outside an
  // inner async function is a syntax error.
  if (/\bimport\.meta\b/.test(source) || (/\bawait\b/.test(source) && !parses(`class C{static{${code}\n}}`))) return asModule(file, source);
  return { format: 'commonjs', source: code, shortCircuit: true };
}

function asModule(file, source) {
  let code = translate(file, source, 'es6');
  if (/\brequire\s*\(/.test(source) && !/\b(const|let|var|function)\s+require\b/.test(source)) {
    code = `import { createRequire as $createRequire } from 'node:module'; const require = $createRequire(import.meta.url); ${code}`;
  }
  return { format: 'module', source: code, shortCircuit: true };
}

function parses(code) {
  try {
    new Script(code);
    return true;
  } catch {
    return false;
  }
}

function translate(file, source, type) {
  if (!swc) {
    const module = { exports: {} };
    process.dlopen(module, `${__dirname}/swc.node`); // not by require: it is no module of the program
    swc = module.exports;
  }
  const { experimentalDecorators, emitDecoratorMetadata, useDefineForClassFields } = compilerOptions(dirname(file));
  const options = {
    filename: file,
    swcrc: false,
    configFile: false,
    sourceMaps: 'inline',
    inlineSourcesContent: false,
    jsc: {
      target: 'es2022',
      parser: { syntax: 'typescript', tsx: file.endsWith('x'), decorators: true },
      transform: {
        legacyDecorator: experimentalDecorators === true,
        decoratorMetadata: emitDecoratorMetadata === true,
        decoratorVersion: experimentalDecorators === true ? undefined : '2022-03',
        useDefineForClassFields: useDefineForClassFields ?? experimentalDecorators !== true,
      },
    },
    module: { type },
    isModule: 'unknown',
  };
  try {
    return swc.transformSync(source, false, Buffer.from(JSON.stringify(options))).code;
  } catch (error) {
    // Already a message with file, line and the place marked. A stack of this file would only stand in its way.
    process.stderr.write(`${String(error.message).replace(/\s*Caused by:[^]*$/, '').trim()}\n`);
    process.exit(1);
  }
}

// warm loads the translator and has it run once, before the program is there (rootfs/javascript/files/node.cc).
function warm() {
  const source = `import { a } from './a'; interface I { x: number }
    export class C<T> implements I { x = 1; f = async (y: T[]): Promise<T> => y[a as number]; }`;
  for (const type of ['commonjs', 'es6']) translate(`${__dirname}/warm.ts`, source, type);
}

const nearest = new Map(); // folder -> the parsed file of this name in it or above, or {}

function nearestJSON(dir, name) {
  const key = join(dir, name);
  if (!nearest.has(key)) {
    let value = {};
    if (existsSync(key)) value = parseJSONC(readFileSync(key, 'utf8'));
    else if (dirname(dir) !== dir) value = nearestJSON(dirname(dir), name);
    nearest.set(key, value);
  }
  return nearest.get(key);
}

const isModulePackage = (dir) => nearestJSON(dir, 'package.json').type === 'module';
const compilerOptions = (dir) => nearestJSON(dir, 'tsconfig.json').compilerOptions ?? {};

// tsconfig.json may hold comments and trailing commas. What cannot be read is as good as absent.
function parseJSONC(text) {
  const plain = text.replace(/("(?:\\.|[^"\\])*")|\/\/[^\n]*|\/\*[^]*?\*\//g, '$1').replace(/,(\s*[}\]])/g, '$1');
  try {
    return JSON.parse(plain) ?? {};
  } catch {
    return {};
  }
}
