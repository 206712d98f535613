# Adds images to the artifact store once they are built:
#
#   IMAGE_CLASSES += "fluvial-artifacts"
#   FLUVIAL_IMAGES = "image-prod"
#   BUILD_VERSION = "0.1.0"
#
# A version is never overwritten. A build of the same BUILD_VERSION that makes another image fails, therefore, unless
# FLUVIAL_EXISTING is "keep": then what is in the store stays, and a warning says so.

inherit fluvial

# The images that are added; others are left alone.
FLUVIAL_IMAGES ?= ""
# NAME=FILE for each partition that devices have twice.
FLUVIAL_FSTYPE ?= "ext4"
FLUVIAL_PARTITIONS ?= "rootfs=${DEPLOY_DIR_IMAGE}/${IMAGE_LINK_NAME}.${FLUVIAL_FSTYPE}"
# NAME=SIZE for partitions that are longer than their images. Without it, images of all versions have one length.
FLUVIAL_PARTITION_SIZES ?= ""
# NAME=N for partitions whose blocks have not 512 bytes.
FLUVIAL_BLOCK_LENS ?= ""
# Names of variables that say how the image is configured. They must be the same in both versions of a delta.
FLUVIAL_BUILD_INFO ?= "TCLIBC INIT_MANAGER TUNE_PKGARCH"
# Names of variables that are kept with the image, and may differ.
FLUVIAL_BUILD_NOTES ?= "DISTRO_VERSION"
# What a version that is there comes to: "error" or "keep".
FLUVIAL_EXISTING ?= "error"

FLUVIAL_ADD_OPTIONS = "\
    ${@fluvial_pairs(d, '--build-info', 'FLUVIAL_BUILD_INFO')} \
    ${@fluvial_pairs(d, '--build-note', 'FLUVIAL_BUILD_NOTES')} \
    ${@fluvial_repeated(d, '--partition-size', 'FLUVIAL_PARTITION_SIZES')} \
    ${@fluvial_repeated(d, '--block-len', 'FLUVIAL_BLOCK_LENS')} \
"

do_fluvial_artifacts() {
    if [ -z "${BUILD_VERSION}" ]; then
        bbfatal "BUILD_VERSION is not set: it is the version under which ${PN} is kept"
    fi
    status=0
    ${FLUVIAL} artifacts add --artifacts "${FLUVIAL_ARTIFACTS}" --machine "${MACHINE}" --image "${PN}" \
        --version "${BUILD_VERSION}" --distribution "${DISTRO}" \
        ${FLUVIAL_ADD_OPTIONS} ${FLUVIAL_PARTITIONS} || status=$?
    # 28 is artifact_exists.
    case "$status:${FLUVIAL_EXISTING}" in
    0:*) ;;
    28:keep) bbwarn "${PN} ${BUILD_VERSION} is in ${FLUVIAL_ARTIFACTS} already, and stays as it is" ;;
    *) bbfatal "${PN} ${BUILD_VERSION} was not added to ${FLUVIAL_ARTIFACTS} (exit code $status)" ;;
    esac
}
addtask fluvial_artifacts after do_image_complete before do_build

# Values of variables that are named in variables are not seen by BitBake itself.
do_fluvial_artifacts[vardeps] += "${FLUVIAL_BUILD_INFO} ${FLUVIAL_BUILD_NOTES}"
# The place of the store says nothing about what is put there.
do_fluvial_artifacts[vardepsexclude] += "FLUVIAL FLUVIAL_ARTIFACTS"

python () {
    if d.getVar('PN') not in (d.getVar('FLUVIAL_IMAGES') or '').split():
        bb.build.deltask('do_fluvial_artifacts', d)
}
