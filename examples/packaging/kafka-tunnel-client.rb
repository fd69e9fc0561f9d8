# Homebrew formula for tunnel-client: the side of the Kafka clients. Not tried on a Mac; only its syntax is checked.
# Before you use it, fill in the address and the checksum of a released source archive (shasum -a 256).
class KafkaTunnelClient < Formula
  desc "Kafka brokers at localhost, reached through HTTPS"
  homepage "https://example.com/kafka-tunnel"
  url "https://example.com/kafka-tunnel/kafka-tunnel-0.1.0.tar.xz"
  sha256 "0000000000000000000000000000000000000000000000000000000000000000"
  license "Apache-2.0"

  depends_on "meson" => :build
  depends_on "ninja" => :build
  depends_on "pkgconf" => :build
  depends_on "jansson"
  depends_on "libevent"
  depends_on "openssl@3"

  uses_from_macos "python" => :build

  def install
    system "meson", "setup", "build", "-Dserver=false", "-Dtests=false", "-Dsystemd_unit_dir=", *std_meson_args
    system "meson", "compile", "-C", "build", "--verbose"
    system "meson", "install", "-C", "build"
  end

  service do
    # Options are in this file; docs/configuration.md has its syntax.
    run [opt_bin/"tunnel-client", "--config", etc/"kafka-tunnel/tunnel-client.properties"]
    keep_alive successful_exit: false
    error_log_path var/"log/tunnel-client.log"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/tunnel-client --version")
    assert_match "--server is missing", shell_output("#{bin}/tunnel-client 2>&1", 2)
  end
end
