import com.sun.source.tree.ClassTree;
import com.sun.source.tree.CompilationUnitTree;
import com.sun.source.tree.MethodTree;
import com.sun.source.tree.Tree;
import com.sun.source.util.JavacTask;
import com.sun.source.util.TaskEvent;
import com.sun.source.util.TaskListener;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import javax.lang.model.element.Modifier;
import javax.tools.ForwardingJavaFileObject;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileObject;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;

/**
 * javac with two differences, wanted where a program is sent without file names: a public class may lie in a file of any name, and the
 * class to start is found and written to /build/main.args, an argument file for java. All messages are javac's own.
 */
public final class Compile {
    private static final Path OUTPUT = Path.of("/build");

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
        PrintWriter messages = new PrintWriter(System.err, true, StandardCharsets.UTF_8);
        JavaCompiler javac = ToolProvider.getSystemJavaCompiler();
        StandardJavaFileManager files = javac.getStandardFileManager(null, Locale.ROOT, StandardCharsets.UTF_8);
        List<JavaFileObject> units = new ArrayList<>();
        for (JavaFileObject file : files.getJavaFileObjects(sources)) {
            units.add(new AnyName(file));
        }
        List<String> options = List.of("-d", OUTPUT.toString(), "-proc:none", "-sourcepath", ".", "-classpath", ".");
        JavacTask task = (JavacTask) javac.getTask(messages, files, null, options, null, units);
        MainClass main = new MainClass();
        task.addTaskListener(main);
        boolean compiled = task.call();
        messages.flush();
        if (!compiled) {
            System.exit(1);
        }
        Files.writeString(OUTPUT.resolve("main.args"), '"' + main.name() + "\"\n");
        // Halting skips the orderly end of a JVM that has nothing left to do.
        Runtime.getRuntime().halt(0);
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
