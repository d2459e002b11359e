#!/usr/bin/env node
// npm and npx, with the operator's mirror for a registry if there is one: a folder of tarballs as `npm pack` makes them. A server on the
// jail's own loopback, in this process, tells npm what the tarballs say of themselves.
'use strict';
const { createHash } = require('crypto');
const fs = require('fs');
const http = require('http');
const path = require('path');
const { gunzipSync } = require('zlib');

const mirror = '/packages/npm';
const home = '/usr/lib/node_modules/npm';

// manifest is the package.json of a tarball.
function manifest(tarball) {
  const tar = gunzipSync(tarball);
  for (let at = 0; at < tar.length && tar[at] !== 0;) {
    const field = (from, to) => tar.toString('utf8', at + from, at + to).replace(/\0.*$/s, '');
    const size = parseInt(field(124, 136), 8);
    if (/^[^/]+\/package\.json$/.test(field(0, 100))) {
      return JSON.parse(tar.toString('utf8', at + 512, at + 512 + size));
    }
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return {};
}

// In file names npm pack writes @scope/name as scope-name.
const prefixOf = (name) => name.replace(/^@([^/]+)\//, '$1-') + '-';

// packument is what a registry says of a package, or undefined.
function packument(name, registry) {
  const versions = {};
  for (const file of fs.readdirSync(mirror)) {
    if (!file.startsWith(prefixOf(name)) || !/^\d.*\.tgz$/.test(file.slice(prefixOf(name).length))) continue;
    const tarball = fs.readFileSync(path.join(mirror, file));
    const found = manifest(tarball);
    if (found.name !== name) continue; // a-b-1.0.0.tgz may be of a-b and of @a/b
    const integrity = 'sha512-' + createHash('sha512').update(tarball).digest('base64');
    versions[found.version] = { ...found, dist: { tarball: `${registry}${name}/-/${path.basename(name)}-${found.version}.tgz`, integrity } };
  }
  const semver = require(home + '/node_modules/semver');
  const all = semver.rsort(Object.keys(versions));
  return all.length && { name, 'dist-tags': { latest: all.find((v) => !semver.prerelease(v)) ?? all[0] }, versions };
}

// serve answers GET /@scope/name with the packument, and GET /@scope/name/-/name-VERSION.tgz, as lock files have it, with the tarball.
function serve(request, response) {
  const url = decodeURIComponent(request.url);
  const [, name, , version] = /^\/((?:@[^/]+\/)?([^/]+))(?:\/-\/\2-([^/]+)\.tgz)?$/.exec(url) ?? [];
  const body = version ? tarballOf(name, version) : name && packument(name, `http://${request.headers.host}/`);
  response.statusCode = body ? 200 : 404;
  response.end(!body ? '{"error": "not in the mirror"}' : version ? body : JSON.stringify(body));
}

function tarballOf(name, version) {
  const file = path.join(mirror, prefixOf(name) + version + '.tgz');
  return fs.existsSync(file) && fs.readFileSync(file);
}

function start() {
  const name = path.basename(process.argv[1]) === 'npx' ? 'npx' : 'npm';
  require(`${home}/bin/${name}-cli.js`);
}

if (!fs.existsSync(mirror)) {
  start();
} else {
  const server = http.createServer(serve).listen(0, '127.0.0.1', () => {
    process.env.npm_config_registry ??= `http://127.0.0.1:${server.address().port}/`;
    process.env.npm_config_offline ??= 'false';
    start();
  });
  server.unref();
}
