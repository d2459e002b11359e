// Package wire is the contract between apid, which has no privileges, and sandboxd, which is root.
//
// The transport is a Unix socket of type SOCK_SEQPACKET. One packet is one JSON object of at most [MaxPacket] bytes;
// a server refuses unknown fields. File descriptors travel beside the packet (SCM_RIGHTS). One connection is one exchange:
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
// Two versions meet during an upgrade. A server that gets a field which it does not know refuses the request (CodeInvalid), for it might be a limit;
// a client passes over what it does not know in a Reply. So a new version may add fields to both; those of a Reply must change nothing in what the
// others mean, and a new Code or limit is for answers to new fields alone.
//
// What the program did is data in [Result]. What we failed at is an [Error]. The two never mix.
package wire
