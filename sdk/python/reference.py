"""Writes the API reference, Markdown, to standard output: what runtools exports, with its docstrings.

It reads the source and imports nothing, so that every version of Python writes the same.
"""

import ast
import pathlib
import textwrap

package = pathlib.Path(__file__).parent / "runtools"
classes = {}  # by name
exported = []
for file in sorted(package.glob("*.py")):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            classes[node.name] = node
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            exported = ast.literal_eval(node.value)


def doc(node):
    """The docstring. Its examples, which are indented, become blocks of code."""
    out, example = [], []
    for line in (ast.get_docstring(node) or "").splitlines() + ["end"]:
        if line.startswith("    ") or example and not line:
            example.append(line)
            continue
        if example:
            out += ["```python", textwrap.dedent("\n".join(example)).strip(), "```", ""]
            example = []
        out.append(line)
    return "\n".join(out[:-1]).strip()


def signature(function, owner):
    """One line, or one a parameter where that would be long."""
    a = function.args
    parts = [(arg, default) for arg, default in zip(a.args, [None] * (len(a.args) - len(a.defaults)) + a.defaults)][1:]
    texts = [parameter(arg, default) for arg, default in parts]
    if a.kwonlyargs:
        texts += ["*"] + [parameter(arg, default) for arg, default in zip(a.kwonlyargs, a.kw_defaults)]
    if function.name == "__init__":
        start, end = f"{owner}(", ")"
    else:
        start = ("async " if isinstance(function, ast.AsyncFunctionDef) else "") + f"def {function.name}("
        end = f") -> {ast.unparse(function.returns)}"
    line = start + ", ".join(texts) + end
    return line if len(line) <= 100 else "\n".join([start, *(f"    {text}," for text in texts), end])


def parameter(arg, default):
    text = f"{arg.arg}: {ast.unparse(arg.annotation)}" if arg.annotation else arg.arg
    return f"{text} = {ast.unparse(default)}" if default is not None else text


def public(name):
    return not name.startswith("_") or name == "__init__"


described = set()  # base classes of ours: a session's execute is the client's, once is enough


def members(node):
    """The constructor, unless another object makes these, then what a base class of ours has, then its own."""
    own = [m for m in node.body if isinstance(m, (ast.FunctionDef, ast.AsyncFunctionDef)) and public(m.name)]
    if "Made by" in doc(node):
        own = [m for m in own if m.name != "__init__"]
    for base in node.bases:
        if base.id in classes and base.id not in exported and base.id not in described:
            described.add(base.id)
            own[1:1] = members(classes[base.id])
    return own


def describe(node):
    twin = node.name[len("Async") :]
    if node.name.startswith("Async"):
        yield f"## class {node.name}"
        yield f"`{twin}` for asyncio: the same names, arguments, results and errors. Calls are awaited, `stream` is an async generator."
        return
    parents = [base.id for base in node.bases if base.id in exported or base.id not in classes]
    yield f"## class {node.name}" + (f"({', '.join(parents)})" if parents else "")
    yield doc(node)
    for member in members(node):
        if any(ast.unparse(d) == "property" for d in member.decorator_list):
            yield f"### {member.name}: `{ast.unparse(member.returns)}`"
        else:
            yield f"### {node.name if member.name == '__init__' else member.name}"
            yield f"```python\n{signature(member, node.name)}\n```"
        yield doc(member)


print("# runtools for Python\n\nMade from the docstrings of the source by `make docs`.")
for name in exported:
    if name in classes:
        for paragraph in describe(classes[name]):
            if paragraph:
                print("\n" + paragraph)
