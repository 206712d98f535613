SUMMARY = "A signed package that brings devices from one version of an image to another"
DESCRIPTION = "Makes an rdiff package for SWUpdate from two versions in the artifact store: \
VERSION_FROM=0.1.0 VERSION_TO=0.2.0 kas build kas/qemux86-64_imgen-update-delta.yml"
HOMEPAGE = "https://example.invalid/fluvial"
SECTION = "core"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

inherit fluvial nopackages

INHIBIT_DEFAULT_DEPS = "1"
EXCLUDE_FROM_WORLD = "1"
PACKAGE_ARCH = "${MACHINE_ARCH}"

# The two versions, from the environment.
VERSION_FROM ?= ""
VERSION_TO ?= ""
# The image that both are versions of.
FLUVIAL_DELTA_IMAGE ?= ""
# Who signs. Both are files outside of the build, in PEM.
FLUVIAL_SIGN_KEY ?= ""
FLUVIAL_SIGN_CERT ?= ""
# As what: cms, rsa or pss. It has to be what the devices' swupdate was built with.
FLUVIAL_SIGNATURE ?= "cms"
# Where partitions are on devices: rootfs=/dev/TARGET,base=/dev/BASE
FLUVIAL_SLOTS ?= ""
# Boards that take the package, NAME:REVISION.
FLUVIAL_HARDWARE ?= ""
# What is kept beside delta-info.json and build-info.txt.
ARTIFACTS_PATTERNS ?= "*.swu"

FLUVIAL_DELTA_OPTIONS = "\
    ${@fluvial_repeated(d, '--slot', 'FLUVIAL_SLOTS')} \
    ${@fluvial_repeated(d, '--hardware', 'FLUVIAL_HARDWARE')} \
"

do_generate_delta() {
    if [ -z "${VERSION_FROM}" ] || [ -z "${VERSION_TO}" ]; then
        bbfatal "VERSION_FROM and VERSION_TO are not both set"
    fi
    if [ -z "${FLUVIAL_SIGN_KEY}" ] || [ -z "${FLUVIAL_SIGN_CERT}" ]; then
        bbfatal "FLUVIAL_SIGN_KEY and FLUVIAL_SIGN_CERT are not both set"
    fi
    ARTIFACTS_PATTERNS="${ARTIFACTS_PATTERNS}" ${FLUVIAL} swu delta --artifacts "${FLUVIAL_ARTIFACTS}" \
        --machine "${MACHINE}" --image "${FLUVIAL_DELTA_IMAGE}" --from "${VERSION_FROM}" --to "${VERSION_TO}" \
        --sign-key "${FLUVIAL_SIGN_KEY}" --sign-cert "${FLUVIAL_SIGN_CERT}" --signature "${FLUVIAL_SIGNATURE}" \
        ${FLUVIAL_DELTA_OPTIONS} || bbfatal "no delta from ${VERSION_FROM} to ${VERSION_TO} (exit code $?)"
}
addtask generate_delta before do_build

# Whether the delta is there is for the store to say.
do_generate_delta[nostamp] = "1"

do_fetch[noexec] = "1"
do_unpack[noexec] = "1"
do_patch[noexec] = "1"
do_configure[noexec] = "1"
do_compile[noexec] = "1"
do_install[noexec] = "1"
