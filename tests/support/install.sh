#!/usr/bin/env bash
# Installs what building and testing uptake needs on Debian 12 or 13.
#
#   install.sh               everything: compilers, services, the tests' Python
#   install.sh --build-only  only what building and `uptake demo` need
#
# Packages come from apt-get (root, or sudo; not asked for when nothing is
# missing); Kafka, the schema registry and the Python packages go to the cache
# directory ${UPTAKE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/uptake}.
# A second run finds everything in place and changes nothing.
set -euo pipefail

support=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
requirements=$support/../requirements.txt
cache=${UPTAKE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/uptake}
# shellcheck source=tests/support/versions.env
. "$support/versions.env"

build_packages=(gcc libc6-dev cmake ninja-build pkg-config librdkafka-dev
    libhiredis-dev libjansson-dev libcurl4-openssl-dev
    libyaml-dev libxxhash-dev libmicrohttpd-dev redis-server)
check_packages=(clang clang-format clang-tidy llvm valgrind)
test_packages=(libcmocka-dev libavro-dev maven python3-venv chromium chromium-driver fonts-dejavu-core)

say() { echo "install.sh: $*" >&2; }

die() {
    say "$*"
    exit 69
}

# Prints the given packages that are not installed.
missing_packages() {
    local package state
    for package in "$@"; do
        state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || state=none
        # Debian writes foreign co-installed architectures side by side.
        case $state in
            installed*) ;;
            *) echo "$package" ;;
        esac
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "not root and no sudo: $*"
    fi
}

updated=no
update_lists() {
    [ "$updated" = yes ] && return
    as_root apt-get update -qq || say "apt-get update failed; trying with the lists at hand"
    updated=yes
}

# Installs those of the given packages that are missing.
install_packages() {
    local missing
    mapfile -t missing < <(missing_packages "$@")
    [ ${#missing[@]} -eq 0 ] && return
    say "installing ${missing[*]}"
    update_lists
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq -o Dpkg::Use-Pty=0 --no-install-recommends "${missing[@]}" >/dev/null
}

# The same for packages that a release may lack: those are passed over.
install_known_packages() {
    local missing package known=()
    mapfile -t missing < <(missing_packages "$@")
    [ ${#missing[@]} -eq 0 ] && return
    update_lists
    for package in "${missing[@]}"; do
        if apt-cache show "$package" >/dev/null 2>&1; then
            known+=("$package")
        else
            say "no package $package here, left out"
        fi
    done
    [ ${#known[@]} -eq 0 ] || install_packages "${known[@]}"
}

# Sanitizer and fuzzer runtimes carry the compiler's version in their names.
install_clang_runtimes() {
    local major
    major=$(clang -dumpversion | cut -d. -f1)
    install_known_packages "libclang-rt-$major-dev" "libfuzzer-$major-dev"
}

# True if there is a Java that Kafka 4 runs on.
java_suits() {
    local major
    command -v java >/dev/null || return 1
    major=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
    [ "${major:-0}" -ge 17 ]
}

# Runs "$@ DIR" on a new directory and puts it at $1 once that has succeeded.
make_directory() {
    local target=$1 staging
    shift
    staging=$(mktemp -d "$cache/staging.XXXXXX")
    if ! "$@" "$staging"; then
        rm -rf "$staging"
        die "$1 failed"
    fi
    chmod 755 "$staging"
    rm -rf "$target"
    mv "$staging" "$target"
}

fetch_kafka() {
    cat >"$1/pom.xml" <<EOF
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>uptake</groupId>
  <artifactId>test-kafka</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>$KAFKA_VERSION</version>
    </dependency>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka-tools</artifactId>
      <version>$KAFKA_VERSION</version>
    </dependency>
    <!-- Without a binding Kafka logs nothing, not even why it stopped. -->
    <dependency>
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-simple</artifactId>
      <version>$SLF4J_VERSION</version>
    </dependency>
  </dependencies>
</project>
EOF
    (cd "$1" && mvn -q -B dependency:copy-dependencies -DoutputDirectory=lib) >&2
}

fetch_registry() {
    local archive=apicurio-registry-app-$APICURIO_VERSION-all.tar.gz
    (cd "$1" && mvn -q -B dependency:copy -DoutputDirectory=. \
        -Dartifact="io.apicurio:apicurio-registry-app:$APICURIO_VERSION:tar.gz:all" &&
        tar -xzf "$archive" && rm "$archive") >&2
}

# Prints a Python that is new enough and can make virtual environments.
find_python() {
    local python
    for python in python3 /usr/bin/python3; do
        if "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
            2>/dev/null; then
            echo "$python"
            return
        fi
    done
    die "no Python 3.11 or later with venv"
}

# A virtual environment knows its own path, so it is made in place.
make_venv() {
    local key python
    key=$(sha256sum <"$requirements")
    if [ -x "$cache/venv/bin/python" ] && [ "$(cat "$cache/venv/key" 2>/dev/null)" = "$key" ]; then
        return
    fi
    say "making $cache/venv"
    python=$(find_python)
    rm -rf "$cache/venv"
    "$python" -m venv "$cache/venv"
    "$cache/venv/bin/pip" install -q --disable-pip-version-check -r "$requirements" >&2
    echo "$key" >"$cache/venv/key"
}

# Class archives halve the start of each Java service; they fit one Java only.
make_archives() {
    local key
    key="$(java -version 2>&1) $KAFKA_VERSION $APICURIO_VERSION"
    [ "$(cat "$cache/warm/key" 2>/dev/null)" = "$key" ] && return
    say "preparing fast starts of Kafka and the registry"
    "$support/python.sh" -m support.services warm
    echo "$key" >"$cache/warm/key"
}

fill_cache() {
    mkdir -p "$cache"
    exec 9>"$cache/lock"
    flock 9
    if [ ! -d "$cache/kafka-$KAFKA_VERSION" ]; then
        say "fetching Kafka $KAFKA_VERSION"
        make_directory "$cache/kafka-$KAFKA_VERSION" fetch_kafka
    fi
    if [ ! -d "$cache/apicurio-$APICURIO_VERSION" ]; then
        say "fetching Apicurio registry $APICURIO_VERSION"
        make_directory "$cache/apicurio-$APICURIO_VERSION" fetch_registry
    fi
    make_venv 9>&-
    make_archives 9>&-
}

build_only=no
case ${1:-} in
    '') ;;
    --build-only) build_only=yes ;;
    *)
        echo "usage: $0 [--build-only]" >&2
        exit 64
        ;;
esac

if command -v dpkg-query >/dev/null; then
    if [ "$build_only" = yes ]; then
        install_packages "${build_packages[@]}"
        exit 0
    fi
    java_suits || test_packages+=(default-jre-headless)
    install_packages "${build_packages[@]}" "${check_packages[@]}" "${test_packages[@]}"
    # chromedriver looks for localhost, which a folder made by debootstrap does not know.
    [ -e /etc/hosts ] || echo "127.0.0.1 localhost" | as_root tee /etc/hosts >/dev/null
    install_clang_runtimes
else
    say "not a Debian system: taking the packages for granted"
    [ "$build_only" = yes ] && exit 0
fi
fill_cache
