// The SDK section of the specification, word for word; the test puts a valid key in.
import { RunTools } from '@runtools/sdk';

const rt = new RunTools({ apiKey: 'rt_live_xxx' });

// Simple execution
const result = await rt.execute({
  language: 'python',
  code: 'print("Hello from RunTools!")',
});
console.log(result.run.stdout); // "Hello from RunTools!\n"

// With session persistence
const r1 = await rt.execute({
  language: 'python',
  code: 'open("data.txt", "w").write("hello")',
});

const r2 = await rt.execute({
  language: 'python',
  sessionId: r1.session_id,
  code: 'print(open("data.txt").read())',
});
console.log(r2.run.stdout); // "hello"

// List available runtimes
const runtimes = await rt.runtimes();
console.log(runtimes);
