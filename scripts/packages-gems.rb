# Writes the index of the gems below gems/ of the working directory, as a server of gems has it: `gem` and `bundle` take a folder with it for a source.
require "fileutils"
require "rubygems/package"

specs = Dir["gems/*.gem"].map { |file| Gem::Package.new(file).spec }
FileUtils.mkdir_p("quick/Marshal.4.8")
specs.each do |spec|
  spec.abbreviate
  spec.sanitize
  File.binwrite("quick/Marshal.4.8/#{spec.original_name}.gemspec.rz", Gem.deflate(Marshal.dump(spec)))
end

early, released = specs.partition { |spec| spec.version.prerelease? }
latest = released.group_by { |spec| [spec.name, spec.original_platform] }.map { |_, all| all.max_by(&:version) }
{ "specs" => released, "latest_specs" => latest, "prerelease_specs" => early }.each do |name, list|
  index = list.map { |spec| [spec.name, spec.version, spec.original_platform] }
  Zlib::GzipWriter.open("#{name}.4.8.gz") { |file| file.write(Marshal.dump(index)) }
end
