import com.sun.source.tree.ClassTree;
import com.sun.source.tree.CompilationUnitTree;
import com.sun.source.util.JavacTask;
import com.sun.source.util.TaskEvent;
import com.sun.source.util.TaskListener;
import com.sun.source.util.TreeScanner;
import com.sun.tools.javac.api.ClientCodeWrapper;
import com.sun.tools.javac.api.JavacTaskImpl;
import com.sun.tools.javac.api.JavacTool;
import com.sun.tools.javac.api.JavacTrees;
import com.sun.tools.javac.api.MultiTaskListener;
import com.sun.tools.javac.code.ClassFinder;
import com.sun.tools.javac.code.Preview;
import com.sun.tools.javac.code.Symbol;
import com.sun.tools.javac.code.Symtab;
import com.sun.tools.javac.code.Types;
import com.sun.tools.javac.comp.Annotate;
import com.sun.tools.javac.comp.Check;
import com.sun.tools.javac.comp.CompileStates;
import com.sun.tools.javac.comp.Enter;
import com.sun.tools.javac.comp.Modules;
import com.sun.tools.javac.file.CacheFSInfo;
import com.sun.tools.javac.file.FSInfo;
import com.sun.tools.javac.file.JavacFileManager;
import com.sun.tools.javac.main.Arguments;
import com.sun.tools.javac.main.JavaCompiler;
import com.sun.tools.javac.model.JavacElements;
import com.sun.tools.javac.platform.PlatformDescription;
import com.sun.tools.javac.tree.JCTree;
import com.sun.tools.javac.util.Context;
import com.sun.tools.javac.util.Log;
import com.sun.tools.javac.util.Name;
import com.sun.tools.javac.util.Options;
import java.io.IOException;
import java.io.OutputStream;
import java.io.OutputStreamWriter;
import java.io.PrintWriter;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Locale;
import javax.annotation.processing.Processor;
import javax.tools.DiagnosticListener;
import javax.tools.FileObject;
import javax.tools.ForwardingJavaFileObject;
import javax.tools.JavaFileManager;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;

/**
 * javac as its own tool makes it, but that it can be rehearsed: it compiles a source of the image, whose classes nobody sees, and keeps
 * what it has learnt of the JDK's classes. Most of a small compilation is to learn that. What all else needs to be forgotten is known from
 * JavacTaskPool of the JDK, with which jshell compiles line by line. A Javac that has compiled a program is not used again.
 */
final class Javac extends Context {
    /** javac's exit code when it has run out of memory or stack; that of a fault of its own is higher. */
    static final int EXHAUSTED = 3;

    private final JavacTool tool = JavacTool.create();
    private final Files files;
    private final List<String> options;
    private final List<CompilationUnitTree> parsed = new ArrayList<>();
    private boolean rehearsal;
    private VirtualMachineError exhausted; // what a compilation could not have more of, or null

    Javac(List<String> options) {
        this.options = options;
        put(Log.logKey, (Factory<Log>) ForgetfulLog::new);
        put(JavaCompiler.compilerKey, (Factory<JavaCompiler>) context -> new OpenCompiler(context));
        ListingSymtab.register(this);
        // As JavacTool.getStandardFileManager makes it.
        Context context = new Context();
        context.put(Locale.class, Locale.ROOT);
        context.put(Log.errKey, new PrintWriter(new OutputStreamWriter(System.err, StandardCharsets.UTF_8), true));
        CacheFSInfo.preRegister(context);
        files = new Files(context);
    }

    List<JavaFileObject> sources(String... names) {
        List<JavaFileObject> sources = new ArrayList<>();
        for (JavaFileObject file : files.getJavaFileObjects(names)) {
            sources.add(new AnyName(file));
        }
        return sources;
    }

    /** Returns javac's exit code. */
    int compile(List<JavaFileObject> sources, TaskListener listener) {
        PrintWriter messages = new PrintWriter(System.err, true, StandardCharsets.UTF_8);
        JavacTaskImpl task = (JavacTaskImpl) tool.getTask(messages, files, null, options, null, sources, this);
        task.addTaskListener(listener);
        Log.instance(this).setWriters(messages);
        int code = task.doCall().exitCode;
        if (exhausted != null) {
            tellExhausted();
        }
        messages.flush();
        return exhausted != null ? EXHAUSTED : code;
    }

    /** As javac's own main does, where its tool would ask for a bug report. */
    private void tellExhausted() {
        Log log = Log.instance(this);
        ht.clear(); // else there is no room for the words
        log.printLines(Log.PrefixKind.JAVAC, "msg.resource");
        exhausted.printStackTrace(log.getWriter(Log.WriterKind.NOTICE));
    }

    /** Compiles sources that are correct and of a named package. */
    void rehearse(String... names) {
        rehearsal = true;
        int code = compile(sources(names), new TaskListener() {
            @Override
            public void finished(TaskEvent event) {
                if (event.getKind() == TaskEvent.Kind.PARSE) {
                    parsed.add(event.getCompilationUnit());
                }
            }
        });
        rehearsal = false;
        if (code != 0) {
            throw new IllegalStateException("the rehearsal failed");
        }
        forget();
    }

    private void forget() {
        ht.remove(Arguments.argsKey);
        ht.remove(Log.outKey);
        ht.remove(Log.errKey);
        for (Class<?> c : List.of(DiagnosticListener.class, JavaFileManager.class, JavacTask.class, JavacTrees.class, JavacElements.class,
                PlatformDescription.class)) {
            ht.remove(key(c));
        }
        ((ForgetfulLog) Log.instance(this)).clear();
        Enter.instance(this).newRound();
        JavaCompiler.instance(this).newRound();
        Types.instance(this).newRound();
        Check.instance(this).newRound();
        Check.instance(this).clear();
        Preview.instance(this).clear();
        Modules.instance(this).newRound();
        Annotate.instance(this).newRound();
        CompileStates.instance(this).clear();
        MultiTaskListener.instance(this).clear();
        Options.instance(this).clear();
        for (CompilationUnitTree unit : parsed) {
            forgetClasses(unit);
        }
        parsed.clear();
        ((ListingSymtab) Symtab.instance(this)).forgetPackages(ClassFinder.instance(this));
        ((CacheFSInfo) FSInfo.instance(files.context)).clearCache();
    }

    private void forgetClasses(CompilationUnitTree unit) {
        Symtab symbols = Symtab.instance(this);
        new TreeScanner<Void, Void>() {
            @Override
            public Void visitClass(ClassTree tree, Void unused) {
                Symbol.ClassSymbol c = ((JCTree.JCClassDecl) tree).sym;
                if (c != null) {
                    symbols.removeClass(c.packge().modle, c.flatName());
                }
                return super.visitClass(tree, unused);
            }
        }.scan(unit, null);
    }

    /** Stays open for another compilation. */
    private final class OpenCompiler extends JavaCompiler {
        OpenCompiler(Context context) {
            super(context);
        }

        @Override
        public void compile(
                Collection<JavaFileObject> sources, Collection<String> classes, Iterable<? extends Processor> processors, Collection<String> modules) {
            try {
                super.compile(sources, classes, processors, modules);
            } catch (OutOfMemoryError | StackOverflowError e) {
                exhausted = e;
            }
        }

        @Override
        public void close() {}

        @Override
        protected void checkReusable() {}
    }

    private static final class ForgetfulLog extends Log {
        ForgetfulLog(Context context) {
            super(context);
        }

        void clear() {
            recorded.clear();
            sourceMap.clear();
            nerrors = 0;
            nwarnings = 0;
        }
    }

    /** Knows the packages that were looked for in the folders of the program, "java" for one, and may be there in the next compilation. */
    private static final class ListingSymtab extends Symtab {
        private final List<Symbol.PackageSymbol> packages = new ArrayList<>();

        static void register(Context context) {
            context.put(symtabKey, (Factory<Symtab>) ListingSymtab::new);
        }

        ListingSymtab(Context context) {
            super(context);
        }

        @Override
        public Symbol.PackageSymbol enterPackage(Symbol.ModuleSymbol module, Name name) {
            Symbol.PackageSymbol p = super.enterPackage(module, name);
            if (packages != null && p.modle == unnamedModule) { // null while Symtab is made
                packages.add(p);
            }
            return p;
        }

        void forgetPackages(ClassFinder finder) {
            for (Symbol.PackageSymbol p : packages) {
                p.reset();
                p.members_field = null;
                p.flags_field = 0;
                p.completer = finder.getCompleter();
            }
            packages.clear();
        }
    }

    /** A source whose public classes need not be called as the file is. javac also asks by this whether a file is a package's or a module's own. */
    @ClientCodeWrapper.Trusted
    private static final class AnyName extends ForwardingJavaFileObject<JavaFileObject> {
        AnyName(JavaFileObject file) {
            super(file);
        }

        @Override
        public boolean isNameCompatible(String simpleName, Kind kind) {
            boolean reserved = simpleName.equals("package-info") || simpleName.equals("module-info");
            return kind == Kind.SOURCE && !reserved || super.isNameCompatible(simpleName, kind);
        }

        static FileObject plain(FileObject file) {
            return file instanceof AnyName a ? a.fileObject : file;
        }
    }

    /** The same for both compilations, as javac asks the context for it only once. The rehearsal's output is discarded. */
    @ClientCodeWrapper.Trusted
    private final class Files extends JavacFileManager {
        final Context context;

        Files(Context context) {
            super(context, true, StandardCharsets.UTF_8);
            this.context = context;
        }

        /** The tool's own manager knows its own files only; modules ask it. */
        @Override
        public boolean contains(Location location, FileObject file) throws IOException {
            return super.contains(location, AnyName.plain(file));
        }

        @Override
        public boolean isSameFile(FileObject a, FileObject b) {
            return super.isSameFile(AnyName.plain(a), AnyName.plain(b));
        }

        @Override
        public JavaFileObject getJavaFileForOutput(Location location, String className, JavaFileObject.Kind kind, FileObject sibling)
                throws IOException {
            if (!rehearsal) {
                return super.getJavaFileForOutput(location, className, kind, sibling);
            }
            return new SimpleJavaFileObject(URI.create("discard:/" + className), kind) {
                @Override
                public OutputStream openOutputStream() {
                    return OutputStream.nullOutputStream();
                }
            };
        }
    }
}
