"""The messages of H.323 in ASN.1, as far as addresses in them are concerned.

H.225.0 (call signalling and RAS) and H.245 (control) as the ITU publishes them, cut to what must be read to get at
the addresses: names, order, ranges and extension marks are theirs, for the aligned packed encoding (X.691) depends on
them. What follows the last address wanted is left out, a message in which none is wanted is NULL; an addition behind
an extension mark that is only stepped over is called `skipN` and is NULL, as its length stands before it. Where
nothing behind the last address is read at all, the bit that stands for the extension mark is the first of those that
tell what optional there is: `extended`; and what is not read is NULL there too. Object identifiers and texts are read
as the octets, numbers or digits that they are encoded as: what is skipped need not make sense.
"""

H225 = """
H225 DEFINITIONS AUTOMATIC TAGS ::= BEGIN

UserInformation ::= SEQUENCE { pdu UuPdu, userData NULL OPTIONAL, ... }

UuPdu ::= SEQUENCE {
  body CHOICE {
    setup Setup, callProceeding Proceeding, connect Connect, alerting Proceeding, information Identified,
    releaseComplete ReleaseComplete, facility Facility, ..., progress Progress, empty NULL },
  nonStandardData NonStandard OPTIONAL,
  ...,
  skip1 NULL OPTIONAL,
  skip2 NULL OPTIONAL,
  h245Control SEQUENCE OF OCTET STRING OPTIONAL
}

Identified ::= SEQUENCE { protocolIdentifier OCTET STRING, ... }

ReleaseComplete ::= SEQUENCE {
  protocolIdentifier OCTET STRING,
  reason CHOICE { r0 NULL, r1 NULL, r2 NULL, r3 NULL, r4 NULL, r5 NULL, r6 NULL, r7 NULL, r8 NULL, r9 NULL, r10 NULL,
    r11 NULL, ... } OPTIONAL,
  ...
}

Setup ::= SEQUENCE {
  protocolIdentifier OCTET STRING,
  h245Address Transport OPTIONAL,
  sourceAddress SEQUENCE OF Alias OPTIONAL,
  sourceInfo Endpoint,
  destinationAddress SEQUENCE OF Alias OPTIONAL,
  destCallSignalAddress Transport OPTIONAL,
  destExtraCallInfo SEQUENCE OF Alias OPTIONAL,
  destExtraCRV SEQUENCE OF INTEGER (0..65535) OPTIONAL,
  activeMC BOOLEAN,
  conferenceID OCTET STRING (SIZE (16)),
  conferenceGoal CHOICE { create NULL, join NULL, invite NULL, ... },
  callServices Qseries OPTIONAL,
  callType CHOICE { pointToPoint NULL, oneToN NULL, nToOne NULL, nToN NULL, ... },
  ...,
  skip1 NULL OPTIONAL,
  skip2 NULL OPTIONAL,
  skip3 NULL OPTIONAL,
  skip4 NULL OPTIONAL,
  skip5 NULL OPTIONAL,
  skip6 NULL OPTIONAL,
  fastStart SEQUENCE OF OCTET STRING OPTIONAL
}

-- CallProceeding and Alerting are alike this far
Proceeding ::= SEQUENCE {
  protocolIdentifier OCTET STRING,
  destinationInfo Endpoint,
  h245Address Transport OPTIONAL,
  ...,
  skip1 NULL OPTIONAL,
  skip2 NULL OPTIONAL,
  skip3 NULL OPTIONAL,
  skip4 NULL OPTIONAL,
  fastStart SEQUENCE OF OCTET STRING OPTIONAL
}

Connect ::= SEQUENCE {
  protocolIdentifier OCTET STRING,
  h245Address Transport OPTIONAL,
  destinationInfo Endpoint,
  conferenceID OCTET STRING (SIZE (16)),
  ...,
  skip1 NULL OPTIONAL,
  skip2 NULL OPTIONAL,
  skip3 NULL OPTIONAL,
  skip4 NULL OPTIONAL,
  fastStart SEQUENCE OF OCTET STRING OPTIONAL
}

Facility ::= SEQUENCE {
  protocolIdentifier OCTET STRING,
  alternativeAddress Transport OPTIONAL,
  alternativeAliasAddress SEQUENCE OF Alias OPTIONAL,
  conferenceID OCTET STRING (SIZE (16)) OPTIONAL,
  reason CHOICE { routeCallToGatekeeper NULL, callForwarded NULL, routeCallToMC NULL, undefinedReason NULL, ... },
  ...,
  skip1 NULL OPTIONAL,
  skip2 NULL OPTIONAL,
  skip3 NULL OPTIONAL,
  skip4 NULL OPTIONAL,
  skip5 NULL OPTIONAL,
  skip6 NULL OPTIONAL,
  h245Address Transport OPTIONAL,
  fastStart SEQUENCE OF OCTET STRING OPTIONAL
}

Progress ::= SEQUENCE {
  protocolIdentifier OCTET STRING,
  destinationInfo Endpoint,
  h245Address Transport OPTIONAL,
  callIdentifier SEQUENCE { guid OCTET STRING (SIZE (16)), ... },
  h245SecurityMode CHOICE { nonStandard NonStandard, noSecurity NULL, tls Security, ipsec Security, ... } OPTIONAL,
  tokens SEQUENCE OF Unread OPTIONAL,
  cryptoTokens SEQUENCE OF Unread OPTIONAL,
  fastStart SEQUENCE OF OCTET STRING OPTIONAL,
  ...
}

-- a token ends what can be read: no value has this form
Unread ::= OCTET STRING (SIZE (65535))

Security ::= SEQUENCE {
  nonStandard NonStandard OPTIONAL, encryption ServiceMode, authentication ServiceMode, integrity ServiceMode, ... }

ServiceMode ::= CHOICE { nonStandard NonStandard, none NULL, default NULL, ... }

Transport ::= CHOICE {
  ipAddress SEQUENCE { ip OCTET STRING (SIZE (4)), port INTEGER (0..65535) },
  ipSourceRoute SEQUENCE {
    ip OCTET STRING (SIZE (4)), port INTEGER (0..65535), route SEQUENCE OF OCTET STRING (SIZE (4)),
    routing CHOICE { strict NULL, loose NULL, ... }, ... },
  ipxAddress SEQUENCE {
    node OCTET STRING (SIZE (6)), netnum OCTET STRING (SIZE (4)), port OCTET STRING (SIZE (2)) },
  ip6Address SEQUENCE { ip OCTET STRING (SIZE (16)), port INTEGER (0..65535), ... },
  netBios OCTET STRING (SIZE (16)),
  nsap OCTET STRING (SIZE (1..20)),
  nonStandardAddress NonStandard,
  ...
}

Alias ::= CHOICE {
  dialledDigits IA5String (SIZE (1..128)) (FROM ("0123456789#*,abc")),
  h323-ID SEQUENCE (SIZE (1..256)) OF INTEGER (0..65535),
  ...
}

NonStandard ::= SEQUENCE {
  identifier CHOICE { object OCTET STRING, h221NonStandard H221, ... }, data OCTET STRING }

H221 ::= SEQUENCE { country INTEGER (0..255), extension INTEGER (0..255), maker INTEGER (0..65535), ... }

Bare ::= SEQUENCE { nonStandardData NonStandard OPTIONAL, ... }

Endpoint ::= SEQUENCE {
  nonStandardData NonStandard OPTIONAL,
  vendor Vendor OPTIONAL,
  gatekeeper Bare OPTIONAL,
  gateway SEQUENCE { protocol SEQUENCE OF Protocols OPTIONAL, nonStandardData NonStandard OPTIONAL, ... } OPTIONAL,
  mcu Bare OPTIONAL,
  terminal Bare OPTIONAL,
  mc BOOLEAN,
  undefinedNode BOOLEAN,
  ...
}

Vendor ::= SEQUENCE {
  vendor H221, productId OCTET STRING (SIZE (1..256)) OPTIONAL, versionId OCTET STRING (SIZE (1..256)) OPTIONAL, ... }

Protocols ::= CHOICE {
  nonStandardData NonStandard, h310 Bare, h320 Bare, h321 Bare, h322 Bare, h323 Bare, h324 Bare, voice Bare,
  t120-only Bare, ... }

Qseries ::= SEQUENCE {
  q932 BOOLEAN, q951 BOOLEAN, q952 BOOLEAN, q953 BOOLEAN, q955 BOOLEAN, q956 BOOLEAN, q957 BOOLEAN,
  q954 SEQUENCE { conferenceCalling BOOLEAN, threePartyService BOOLEAN, ... }, ... }

RasMessage ::= CHOICE {
  gatekeeperRequest NULL,
  gatekeeperConfirm GatekeeperConfirm,
  gatekeeperReject NULL,
  registrationRequest RegistrationRequest,
  registrationConfirm RegistrationConfirm,
  registrationReject NULL,
  unregistrationRequest UnregistrationRequest,
  unregistrationConfirm NULL,
  unregistrationReject NULL,
  admissionRequest NULL,
  admissionConfirm AdmissionConfirm,
  admissionReject NULL,
  bandwidthRequest NULL,
  bandwidthConfirm NULL,
  bandwidthReject NULL,
  disengageRequest NULL,
  disengageConfirm NULL,
  disengageReject NULL,
  locationRequest NULL,
  locationConfirm LocationConfirm,
  locationReject NULL,
  infoRequest NULL,
  infoRequestResponse NULL,
  nonStandardMessage NULL,
  unknownMessageResponse NULL,
  ...
}

Name ::= SEQUENCE (SIZE (1..128)) OF INTEGER (0..65535)

GatekeeperConfirm ::= SEQUENCE {
  extended NULL OPTIONAL,
  requestSeqNum INTEGER (1..65535),
  protocolIdentifier OCTET STRING,
  nonStandardData NonStandard OPTIONAL,
  gatekeeperIdentifier Name OPTIONAL,
  rasAddress Transport
}

RegistrationRequest ::= SEQUENCE {
  requestSeqNum INTEGER (1..65535),
  protocolIdentifier OCTET STRING,
  nonStandardData NonStandard OPTIONAL,
  discoveryComplete BOOLEAN,
  callSignalAddress SEQUENCE OF Transport,
  rasAddress SEQUENCE OF Transport,
  terminalType Endpoint,
  terminalAlias SEQUENCE OF Alias OPTIONAL,
  gatekeeperIdentifier Name OPTIONAL,
  endpointVendor Vendor,
  ...,
  skip1 NULL OPTIONAL,
  timeToLive INTEGER (1..4294967295) OPTIONAL
}

RegistrationConfirm ::= SEQUENCE {
  requestSeqNum INTEGER (1..65535),
  protocolIdentifier OCTET STRING,
  nonStandardData NonStandard OPTIONAL,
  callSignalAddress SEQUENCE OF Transport,
  terminalAlias SEQUENCE OF Alias OPTIONAL,
  gatekeeperIdentifier Name OPTIONAL,
  endpointIdentifier Name,
  ...,
  skip1 NULL OPTIONAL,
  timeToLive INTEGER (1..4294967295) OPTIONAL
}

AdmissionConfirm ::= SEQUENCE {
  extended NULL OPTIONAL,
  requestSeqNum INTEGER (1..65535),
  bandWidth INTEGER (0..4294967295),
  callModel CHOICE { direct NULL, gatekeeperRouted NULL, ... },
  destCallSignalAddress Transport,
  irrFrequency NULL OPTIONAL,
  nonStandardData NULL OPTIONAL
}

LocationConfirm ::= SEQUENCE {
  extended NULL OPTIONAL,
  requestSeqNum INTEGER (1..65535),
  callSignalAddress Transport,
  rasAddress Transport,
  nonStandardData NULL OPTIONAL
}

UnregistrationRequest ::= SEQUENCE {
  extended NULL OPTIONAL,
  requestSeqNum INTEGER (1..65535),
  callSignalAddress SEQUENCE OF Transport,
  endpointAlias NULL OPTIONAL,
  nonStandardData NULL OPTIONAL,
  endpointIdentifier NULL OPTIONAL
}

END
"""

H245 = """
H245 DEFINITIONS AUTOMATIC TAGS ::= BEGIN

ControlMessage ::= CHOICE { request Request, response Response, command NULL, indication NULL, ... }

Request ::= CHOICE {
  q0 NULL, q1 NULL, q2 NULL, openLogicalChannel Open, q4 NULL, q5 NULL, q6 NULL, q7 NULL, q8 NULL, q9 NULL, q10 NULL,
  ... }

Response ::= CHOICE {
  p0 NULL, p1 NULL, p2 NULL, p3 NULL, p4 NULL, openLogicalChannelAck OpenAck, p6 NULL, p7 NULL, p8 NULL, p9 NULL,
  p10 NULL, p11 NULL, p12 NULL, p13 NULL, p14 NULL, p15 NULL, p16 NULL, p17 NULL, p18 NULL, ... }

Number ::= INTEGER (1..65535)

Open ::= SEQUENCE {
  forwardLogicalChannelNumber Number,
  forward SEQUENCE {
    portNumber INTEGER (0..65535) OPTIONAL,
    dataType DataType,
    multiplex CHOICE { h222 H222, h223 Unread, v76 Unread, ..., h2250 Channel, none NULL },
    ... },
  reverse SEQUENCE {
    dataType DataType,
    multiplex CHOICE { h223 Unread, v76 Unread, ..., h2250 Channel } OPTIONAL,
    ... } OPTIONAL,
  ...,
  separateStack Access OPTIONAL
}

OpenAck ::= SEQUENCE {
  forwardLogicalChannelNumber Number,
  reverse SEQUENCE {
    reverseLogicalChannelNumber Number,
    portNumber INTEGER (0..65535) OPTIONAL,
    multiplex CHOICE { h222 H222, ..., h2250 Channel } OPTIONAL,
    ... } OPTIONAL,
  ...,
  separateStack Access OPTIONAL,
  forwardMultiplexAck CHOICE { h2250 ChannelAck, ... } OPTIONAL
}

-- multiplexes of other recommendations: no value has this form
Unread ::= OCTET STRING (SIZE (65535))

H222 ::= SEQUENCE {
  resourceID INTEGER (0..65535), subChannelID INTEGER (0..8191), pcr-pid INTEGER (0..8191) OPTIONAL,
  programDescriptors OCTET STRING OPTIONAL, streamDescriptors OCTET STRING OPTIONAL, ... }

Channel ::= SEQUENCE {
  extended NULL OPTIONAL,
  nonStandard SEQUENCE OF NonStandard OPTIONAL,
  sessionID INTEGER (0..255),
  associatedSessionID INTEGER (1..255) OPTIONAL,
  mediaChannel Transport OPTIONAL,
  mediaGuaranteedDelivery BOOLEAN OPTIONAL,
  mediaControlChannel Transport OPTIONAL,
  mediaControlGuaranteedDelivery NULL OPTIONAL,
  silenceSuppression NULL OPTIONAL,
  destination NULL OPTIONAL,
  dynamicRTPPayloadType NULL OPTIONAL,
  mediaPacketization NULL OPTIONAL
}

ChannelAck ::= SEQUENCE {
  extended NULL OPTIONAL,
  nonStandard SEQUENCE OF NonStandard OPTIONAL,
  sessionID INTEGER (1..255) OPTIONAL,
  mediaChannel Transport OPTIONAL,
  mediaControlChannel Transport OPTIONAL,
  dynamicRTPPayloadType NULL OPTIONAL
}

Access ::= SEQUENCE {
  distribution CHOICE { unicast NULL, multicast NULL, ... } OPTIONAL,
  networkAddress CHOICE {
    q2931Address Unread, e164Address IA5String (SIZE (1..128)) (FROM ("0123456789#*,abc")),
    localAreaAddress Transport, ... },
  associateConference BOOLEAN,
  externalReference OCTET STRING (SIZE (1..255)) OPTIONAL,
  ...
}

Transport ::= CHOICE { unicastAddress Unicast, multicastAddress Multicast, ... }

Ip4 ::= SEQUENCE { network OCTET STRING (SIZE (4)), tsapIdentifier INTEGER (0..65535), ... }

Ip6 ::= SEQUENCE { network OCTET STRING (SIZE (16)), tsapIdentifier INTEGER (0..65535), ... }

Unicast ::= CHOICE {
  iPAddress Ip4,
  iPXAddress SEQUENCE {
    node OCTET STRING (SIZE (6)), netnum OCTET STRING (SIZE (4)), tsapIdentifier OCTET STRING (SIZE (2)), ... },
  iP6Address Ip6,
  netBios OCTET STRING (SIZE (16)),
  iPSourceRouteAddress SEQUENCE {
    routing CHOICE { strict NULL, loose NULL }, network OCTET STRING (SIZE (4)), tsapIdentifier INTEGER (0..65535),
    route SEQUENCE OF OCTET STRING (SIZE (4)), ... },
  ...
}

Multicast ::= CHOICE { iPAddress Ip4, iP6Address Ip6, ... }

NonStandard ::= SEQUENCE {
  identifier CHOICE {
    object OCTET STRING,
    h221NonStandard SEQUENCE { country INTEGER (0..255), extension INTEGER (0..255), maker INTEGER (0..65535) } },
  data OCTET STRING
}

DataType ::= CHOICE {
  nonStandard NonStandard, nullData NULL, videoData Video, audioData Audio, data Data,
  encryptionData CHOICE { nonStandard NonStandard, h233Encryption NULL, ... }, ... }

Video ::= CHOICE {
  nonStandard NonStandard,
  h261 SEQUENCE {
    qcifMPI INTEGER (1..4) OPTIONAL, cifMPI INTEGER (1..4) OPTIONAL, b1 BOOLEAN, maxBitRate INTEGER (1..19200),
    b2 BOOLEAN, ... },
  h262 SEQUENCE {
    b1 BOOLEAN, b2 BOOLEAN, b3 BOOLEAN, b4 BOOLEAN, b5 BOOLEAN, b6 BOOLEAN, b7 BOOLEAN, b8 BOOLEAN, b9 BOOLEAN,
    b10 BOOLEAN, b11 BOOLEAN, videoBitRate INTEGER (0..1073741823) OPTIONAL,
    vbvBufferSize INTEGER (0..262143) OPTIONAL, samplesPerLine INTEGER (0..16383) OPTIONAL,
    linesPerFrame INTEGER (0..16383) OPTIONAL, framesPerSecond INTEGER (0..15) OPTIONAL,
    luminanceSampleRate INTEGER (0..4294967295) OPTIONAL, ... },
  h263 SEQUENCE {
    sqcifMPI INTEGER (1..32) OPTIONAL, qcifMPI INTEGER (1..32) OPTIONAL, cifMPI INTEGER (1..32) OPTIONAL,
    cif4MPI INTEGER (1..32) OPTIONAL, cif16MPI INTEGER (1..32) OPTIONAL, maxBitRate INTEGER (1..192400), b1 BOOLEAN,
    b2 BOOLEAN, b3 BOOLEAN, b4 BOOLEAN, b5 BOOLEAN, hrd-B INTEGER (0..524287) OPTIONAL,
    bppMaxKb INTEGER (0..65535) OPTIONAL, ... },
  is11172 SEQUENCE {
    b1 BOOLEAN, videoBitRate INTEGER (0..1073741823) OPTIONAL, vbvBufferSize INTEGER (0..262143) OPTIONAL,
    samplesPerLine INTEGER (0..16383) OPTIONAL, linesPerFrame INTEGER (0..16383) OPTIONAL,
    pictureRate INTEGER (0..15) OPTIONAL, luminanceSampleRate INTEGER (0..4294967295) OPTIONAL, ... },
  ...
}

Frames ::= INTEGER (1..256)

Audio ::= CHOICE {
  nonStandard NonStandard, g711Alaw64k Frames, g711Alaw56k Frames, g711Ulaw64k Frames, g711Ulaw56k Frames,
  g722-64k Frames, g722-56k Frames, g722-48k Frames, g7231 SEQUENCE { frames Frames, silenceSuppression BOOLEAN },
  g728 Frames, g729 Frames, g729AnnexA Frames,
  is11172 SEQUENCE {
    b1 BOOLEAN, b2 BOOLEAN, b3 BOOLEAN, b4 BOOLEAN, b5 BOOLEAN, b6 BOOLEAN, b7 BOOLEAN, b8 BOOLEAN,
    bitRate INTEGER (1..448), ... },
  is13818 SEQUENCE {
    b1 BOOLEAN, b2 BOOLEAN, b3 BOOLEAN, b4 BOOLEAN, b5 BOOLEAN, b6 BOOLEAN, b7 BOOLEAN, b8 BOOLEAN, b9 BOOLEAN,
    b10 BOOLEAN, b11 BOOLEAN, b12 BOOLEAN, b13 BOOLEAN, b14 BOOLEAN, b15 BOOLEAN, b16 BOOLEAN, b17 BOOLEAN,
    b18 BOOLEAN, b19 BOOLEAN, b20 BOOLEAN, bitRate INTEGER (1..1130), ... },
  ...
}

Data ::= SEQUENCE {
  application CHOICE {
    nonStandard NonStandard, t120 DataProtocol, dsm-cc DataProtocol, userData DataProtocol,
    t84 SEQUENCE {
      protocol DataProtocol,
      profile CHOICE {
        unrestricted NULL,
        restricted SEQUENCE {
          b1 BOOLEAN, b2 BOOLEAN, b3 BOOLEAN, b4 BOOLEAN, b5 BOOLEAN, b6 BOOLEAN, b7 BOOLEAN, b8 BOOLEAN, b9 BOOLEAN,
          b10 BOOLEAN, b11 BOOLEAN, b12 BOOLEAN, b13 BOOLEAN, b14 BOOLEAN, b15 BOOLEAN, b16 BOOLEAN, b17 BOOLEAN,
          b18 BOOLEAN, b19 BOOLEAN, ... } } },
    t434 DataProtocol, h224 DataProtocol,
    nlpid SEQUENCE { protocol DataProtocol, nlpidData OCTET STRING },
    dsvdControl NULL, h222DataPartitioning DataProtocol, ... },
  maxBitRate INTEGER (0..4294967295),
  ...
}

DataProtocol ::= CHOICE {
  nonStandard NonStandard, v14buffered NULL, v42lapm NULL, hdlc NULL, h310SeparateVC NULL, h310SingleVC NULL,
  transparent NULL, ..., skip1 NULL, skip2 NULL, skip3 NULL, separateLANStack NULL }

END
"""
