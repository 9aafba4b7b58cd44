# The function's image. Every instruction works with the classic builder too, which `sam build` uses.
ARG BASE_IMAGE=public.ecr.aws/lambda/python:3.13

FROM ${BASE_IMAGE} AS build
WORKDIR /build
COPY pyproject.toml constraints.txt README.md ./
COPY image ./image
RUN python3 -m pip install --quiet --no-cache-dir --root-user-action ignore --target /uv --constraint constraints.txt uv
ENV UV_NO_CACHE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
# Everything but the project itself, in a layer of its own: an edit of the code neither installs nor pushes it again.
# Bytecode is trusted without a look at its source: nothing could write a newer one, the root is read-only.
RUN PYTHONPATH=/uv python3 -m uv pip install --quiet --python "$(command -v python3)" --target /needed \
        --constraints constraints.txt --excludes image/left-out.txt --requirements pyproject.toml \
    && python3 image/slim.py /needed \
    && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /needed && chmod -R a+rX /needed
COPY chroma_lifecycle ./chroma_lifecycle
COPY handler ./handler
RUN PYTHONPATH=/uv python3 -m uv pip install --quiet --python "$(command -v python3)" --target /own --no-deps .
# The user's mapping; CHROMA_LIFECYCLE_MAPPING names this copy, or a shipped one by its name.
ARG MAPPING=examples/debian/mapping.yaml
COPY ${MAPPING} /own/mapping.yaml
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /own && chmod -R a+rX /own

FROM ${BASE_IMAGE}
# No telemetry of Chroma's or OpenTelemetry's, no model, no hub; only the workspace below /tmp is written.
ENV ANONYMIZED_TELEMETRY=False \
    OTEL_SDK_DISABLED=true \
    HF_HUB_OFFLINE=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp
COPY --from=build /needed ${LAMBDA_TASK_ROOT}
COPY --from=build /own ${LAMBDA_TASK_ROOT}
# Without USER: Lambda runs the image as a user of its own that can only read. Elsewhere: docker run --read-only
# --user 1000 --tmpfs /tmp.
CMD ["handler.app.lambda_handler"]
