import com.sun.source.tree.ClassTree;
import com.sun.source.tree.CompilationUnitTree;
import com.sun.source.tree.MethodTree;
import com.sun.source.tree.Tree;
import com.sun.source.util.JavacTask;
import com.sun.source.util.TaskEvent;
import com.sun.source.util.TaskListener;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintWriter;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import javax.lang.model.element.Modifier;
import javax.tools.FileObject;
import javax.tools.ForwardingJavaFileManager;
import javax.tools.ForwardingJavaFileObject;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileManager;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;

/**
 * javac with two differences, wanted where a program is sent without file names: a public class may lie in a file of any name, and the
 * class to start is found and written to /build/main.args, an argument file for java. All messages are javac's own.
 */
public final class Compile {
    private static final Path OUTPUT = Path.of("/build");
    private static final String WARM = "/usr/lib/runtools/java/Warm.java";

    /** A source whose public classes need not be called as the file is. */
    private static final class AnyName extends ForwardingJavaFileObject<JavaFileObject> {
        AnyName(JavaFileObject file) {
            super(file);
        }

        @Override
        public boolean isNameCompatible(String simpleName, Kind kind) {
            return kind == Kind.SOURCE || super.isNameCompatible(simpleName, kind);
        }
    }

    public static void main(String[] sources) throws IOException {
        // Halting skips the orderly end of a JVM that has nothing left to do.
        Runtime.getRuntime().halt(compile(sources) ? 0 : 1);
    }

    /** Leaves nothing behind but its output: another call is like one in a new JVM. */
    private static boolean compile(String[] sources) throws IOException {
        JavaCompiler javac = ToolProvider.getSystemJavaCompiler();
        StandardJavaFileManager files = javac.getStandardFileManager(null, Locale.ROOT, StandardCharsets.UTF_8);
        MainClass main = new MainClass();
        if (!run(javac, files, files.getJavaFileObjects(sources), main)) {
            return false;
        }
        Files.writeString(OUTPUT.resolve("main.args"), '"' + main.name() + "\"\n");
        return true;
    }

    private static boolean run(JavaCompiler javac, JavaFileManager files, Iterable<? extends JavaFileObject> sources, TaskListener listener) {
        PrintWriter messages = new PrintWriter(System.err, true, StandardCharsets.UTF_8);
        List<JavaFileObject> units = new ArrayList<>();
        for (JavaFileObject file : sources) {
            units.add(new AnyName(file));
        }
        List<String> options = List.of("-d", OUTPUT.toString(), "-proc:none", "-sourcepath", ".", "-classpath", ".");
        JavacTask task = (JavacTask) javac.getTask(messages, files, null, options, null, units);
        task.addTaskListener(listener);
        boolean compiled = task.call();
        messages.flush();
        return compiled;
    }

    /**
     * Called by the parked runner (runner.c) before there is a job: what makes javac slow is its first compilation. This one reads the
     * image only and writes nothing, and its file manager, which would remember folders, ends with it.
     */
    static void warm() throws IOException {
        JavaCompiler javac = ToolProvider.getSystemJavaCompiler();
        try (StandardJavaFileManager files = javac.getStandardFileManager(null, Locale.ROOT, StandardCharsets.UTF_8)) {
            run(javac, new Discard(files), files.getJavaFileObjects(WARM), new MainClass());
        }
    }

    private static final class Discard extends ForwardingJavaFileManager<JavaFileManager> {
        Discard(JavaFileManager files) {
            super(files);
        }

        @Override
        public JavaFileObject getJavaFileForOutput(Location location, String className, JavaFileObject.Kind kind, FileObject sibling) {
            return new SimpleJavaFileObject(URI.create("discard:/" + className.replace('.', '/')), kind) {
                @Override
                public OutputStream openOutputStream() {
                    return OutputStream.nullOutputStream();
                }
            };
        }
    }

    /**
     * The first class with a main method, the entry file's before others'; else the entry file's first class: java says what it lacks.
     * Looked for when a file is parsed: compiling takes the trees apart.
     */
    private static final class MainClass implements TaskListener {
        private String withMain;
        private String first;

        String name() {
            return withMain != null ? withMain : first != null ? first : "Main";
        }

        @Override
        public void finished(TaskEvent event) {
            if (event.getKind() != TaskEvent.Kind.PARSE) {
                return;
            }
            CompilationUnitTree unit = event.getCompilationUnit();
            for (Tree type : unit.getTypeDecls()) {
                if (!(type instanceof ClassTree c)) {
                    continue;
                }
                String simple = c.getSimpleName().toString();
                String name = unit.getPackageName() == null ? simple : unit.getPackageName() + "." + simple;
                if (first == null) {
                    first = name;
                }
                if (withMain == null && c.getMembers().stream().anyMatch(MainClass::isMain)) {
                    withMain = name;
                }
            }
        }

        private static boolean isMain(Tree member) {
            return member instanceof MethodTree m
                    && m.getName().contentEquals("main")
                    && m.getModifiers().getFlags().contains(Modifier.STATIC)
                    && m.getParameters().size() == 1;
        }
    }
}
