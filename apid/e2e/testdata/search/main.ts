import * as fs from 'fs'
import * as path from 'path'
const [secret, own] = fs.readFileSync(0, 'utf8').trim().split('\n').map((line: string): string => [...line].reverse().join(''))
const buffer = Buffer.alloc(1 << 20)
function walk(folder: string): void {
  let entries: fs.Dirent[] = []
  try { entries = fs.readdirSync(folder, { withFileTypes: true }) } catch {}
  for (const e of entries) {
    const file = path.join(folder, e.name)
    if (e.isDirectory()) walk(file)
    if (!e.isFile() || ['mem', 'kmsg', 'pagemap', 'kcore'].includes(e.name)) continue
    try {
      const fd = fs.openSync(file)
      try {
        const content = buffer.subarray(0, fs.readSync(fd, buffer))
        if (content.includes(secret)) console.log('SECRET in ' + file)
        if (content.includes(own)) console.log('own')
      } finally { fs.closeSync(fd) }
    } catch {}
  }
}
process.argv.slice(2).forEach(walk)
