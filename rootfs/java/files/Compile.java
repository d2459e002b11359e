import com.sun.source.tree.ClassTree;
import com.sun.source.tree.CompilationUnitTree;
import com.sun.source.tree.MethodTree;
import com.sun.source.tree.Tree;
import com.sun.source.util.TaskEvent;
import com.sun.source.util.TaskListener;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import javax.lang.model.element.Modifier;

/**
 * javac with two differences, wanted where a program is sent without file names: a public class may lie in a file of any name, and the
 * class to start is found and written to /build/main.args, an argument file for java. All messages are javac's own.
 */
public final class Compile {
    private static final Path OUTPUT = Path.of("/build");
    private static final List<String> OPTIONS = List.of("-d", OUTPUT.toString(), "-proc:none", "-sourcepath", ".", "-classpath", ".");

    /** Rehearsed, for the next job; or null. */
    private static Javac ready;

    public static void main(String[] sources) throws IOException {
        boolean parked = ready != null;
        int code = compile(sources);
        // A compiler that ran out of memory or stack, or into a fault of its own, may have broken off anywhere: it gets no other job.
        while (parked && code < Javac.EXHAUSTED && again(code)) {
            warm();
            code = compile(next());
        }
        // Halting skips the orderly end of a JVM that has nothing left to do.
        Runtime.getRuntime().halt(code);
    }

    /** Ends the job if there may be another one, which next waits for; else it returns false. Of runner.c, as next. */
    private static native boolean again(int code);

    private static native String[] next();

    /** Called by the parked runner (runner.c) before there is a job: what makes javac slow is its first compilation. */
    static void warm() {
        ready = new Javac(OPTIONS);
        ready.rehearse("/usr/lib/runtools/java/Warm.java");
    }

    private static int compile(String[] sources) throws IOException {
        Javac javac = ready != null ? ready : new Javac(OPTIONS);
        ready = null;
        MainClass main = new MainClass();
        int code = javac.compile(javac.sources(sources), main);
        if (code != 0) {
            return code;
        }
        Files.writeString(OUTPUT.resolve("main.args"), '"' + main.name() + "\"\n");
        return 0;
    }

    /**
     * The first class with a main method, the entry file's before others'; else the entry file's first class: java says what it lacks.
     * Looked for when a file is parsed: compiling takes the trees apart.
     */
    private static final class MainClass implements TaskListener {
        /** What the parameter of a main method is (JLS 12.1.4), as it is written; variable arity is written so, too. */
        private static final Set<String> STRINGS = Set.of("String[]", "java.lang.String[]");

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
                    && isType(m.getReturnType(), Set.of("void"))
                    && m.getParameters().size() == 1
                    && isType(m.getParameters().get(0).getType(), STRINGS);
        }

        private static boolean isType(Tree type, Set<String> names) {
            return type != null && names.contains(type.toString()); // null: javac is about to say that it is missing
        }
    }
}
