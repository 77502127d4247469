# One image for broker, gateway and worker: the command says which. It builds with Docker's old
# builder too. PIRN_BASE is any Debian 12 or 13.
ARG PIRN_BASE=debian:bookworm-slim

FROM ${PIRN_BASE} AS build
WORKDIR /src
COPY tools/setup tools/setup
RUN tools/setup build
COPY . .
RUN make -j"$(nproc)" install PREFIX=/usr DESTDIR=/out STRIP=1 \
 && rm -rf /out/usr/include /out/usr/lib /out/usr/share/pirn/examples \
 && tools/runtime-packages /out >/out/packages \
 && echo ca-certificates >>/out/packages # by which HTTPS endpoints are trusted

FROM ${PIRN_BASE}
COPY --from=build /out/packages /tmp/packages
RUN apt-get -q update \
 && DEBIAN_FRONTEND=noninteractive xargs -a /tmp/packages apt-get -q -y install --no-install-recommends --no-upgrade \
 && apt-get clean \
 && rm -rf /tmp/packages /var/lib/apt/lists/* /var/cache/* /var/log/* /var/lib/dpkg/*-old /usr/share/doc /usr/share/man \
 && useradd --uid 7400 --user-group --no-create-home --no-log-init --home-dir /nonexistent --shell /usr/sbin/nologin pirn
COPY --from=build /out/usr /usr
# Your own services: build them with `pirn build`, mount or copy each to a folder in here.
ENV PIRN_SERVICES=/usr/share/pirn/services
USER 7400:7400
WORKDIR /
EXPOSE 7400 8080
STOPSIGNAL SIGTERM
CMD ["pirn", "help"]
