const { execFileSync } = require('child_process')
const fs = require('fs')
const os = require('os')

execFileSync('sh', ['tools.sh'], { stdio: 'inherit' })
fs.writeFileSync('from', 'x'.repeat(100000))
fs.copyFileSync('from', 'copy')
const file = fs.openSync('copy', 'r+')
const parts = [Buffer.alloc(2), Buffer.alloc(1)]
if (fs.writevSync(file, [Buffer.from('ab'), Buffer.from('c')], 5) !== 3 || fs.readvSync(file, parts, 5) !== 3) throw new Error('short')
if (Buffer.concat(parts).toString() !== 'abc') throw new Error('not what was written')
fs.symlinkSync('from', 'link')
fs.lchownSync('link', os.userInfo().uid, os.userInfo().gid)
fs.linkSync('from', 'hard')
fs.cpSync('from', 'other')
fs.renameSync('other', 'moved')
os.getPriority()
const watcher = fs.watch('.', (event, name) => {
  if (name !== 'new') return
  watcher.close()
  console.log('done')
})
fs.writeFileSync('new', '')
