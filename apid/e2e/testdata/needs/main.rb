require 'socket'

system('sh', 'tools.sh', exception: true)
File.write('new', 'x' * 100_000)
File.symlink('new', 'link')
File.lchown(Process.uid, -1, 'link')
File.link('new', 'hard')
IO.copy_stream('new', 'copy')
File.rename('copy', 'moved')
server = TCPServer.new('127.0.0.1', 0)
reader = Thread.new { TCPSocket.open('127.0.0.1', server.addr[1], &:read).size }
server.accept.tap { |c| IO.copy_stream('new', c) }.close
raise 'not sent' unless reader.value == 100_000
Process.getpriority(Process::PRIO_PROCESS, 0)
puts 'done'
