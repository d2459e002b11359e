// Package wire is the contract between apid, which has no privileges, and sandboxd, which is root.
//
// The transport is a Unix socket of type SOCK_SEQPACKET. One packet is one JSON object of at most [MaxPacket] bytes;
// unknown fields are refused. File descriptors travel beside the packet (SCM_RIGHTS). One connection is one exchange:
//
//	client                                   server
//	  Request{Job} + fds      ------------>
//	                          <------------  Reply{Result | Error}
//	  Request{Kill}           ------------>    (optional, while the job runs: end it, still answer)
//	  Request{Signal}         ------------>    (optional, of a Job with Signals, any number of times)
//	  hang up                 ------------>    (at any time: kill the job, answer nobody)
//
//	  Request{Forget}         ------------>
//	                          <------------  Reply{}
//	  Request{List}           ------------>
//	                          <------------  Reply{IDs}
//	  Request{Status}         ------------>
//	                          <------------  Reply{Status}
//	  Request{Selftest}       ------------>
//	                          <------------  Reply{Checks}
//
// Before the Result of a job with a Terminal comes a Reply{Terminal} with a descriptor: the master's side of it.
//
// The file descriptors of a job, in this order: stdout and stderr (write ends of pipes), unless it has a Terminal; then, for each flag that
// is set in the Job, stdin (read only), the contents of Files one after the other (a memfd), and environ (a memfd that
// receives the final environment). File contents, input and output never pass through the memory of the root daemon.
//
// What the program did is data in [Result]. What we failed at is an [Error]. The two never mix.
package wire
